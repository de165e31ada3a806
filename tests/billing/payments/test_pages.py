"""The billing pages: who may press what, what they show, and that a page's address proves nothing."""

import pytest
from django.utils import timezone

from billing.models import AutoRecharge, LedgerEntry, TopUp, Wallet
from tests.support.money import fund, wallet_of
from tests.support.stripe import topup_ask, topup_pay


@pytest.fixture
def page(alice, client):
    client.force_login(alice.user)
    return client


def add_funds(page, amount="$10.00", nonce="n"):
    return page.post("/dashboard/billing/funds", {"amount": amount, "nonce": nonce})


class TestWithoutPayments:
    def test_the_page_says_so_and_offers_nothing_to_press(self, page, settings):
        settings.STRIPE_API_KEY = settings.BILLING_PROVIDER = ""
        text = page.get("/dashboard/billing/").content.decode()
        assert "Payments are not configured here" in text
        assert "/dashboard/billing/funds" not in text

    def test_a_button_pressed_anyway_says_it_in_words(self, page, settings):
        settings.STRIPE_API_KEY = settings.BILLING_PROVIDER = ""
        form = {"amount": "10", "nonce": "n"}
        answer = page.post("/dashboard/billing/funds", form, follow=True)
        assert "ask its operator to add funds" in answer.content.decode()
        assert TopUp.objects.count() == 0


class TestAddingFunds:
    def test_a_choice_leads_to_the_providers_page(self, page, stripe):
        answer = add_funds(page)
        session = stripe.world.all("checkout.session")[0]
        assert answer.headers["Location"] == session["url"]
        assert session["amount_subtotal"] == 1000

    def test_the_forms_policy_allows_the_provider_and_nobody_else(self, page, stripe):
        policy = page.get("/dashboard/billing/").headers["Content-Security-Policy"]
        directive = next(part for part in policy.split(";") if "form-action" in part)
        assert directive.split()[1:] == ["'self'", stripe.base_url]

    @pytest.mark.parametrize("amount", ["", "abc", "-5", "10.001", "1e99", "NaN"])
    def test_an_amount_that_is_none_is_told_beside_its_field(self, page, stripe, amount):
        assert add_funds(page, amount).status_code == 400
        assert TopUp.objects.count() == 0

    def test_the_way_back_waits_for_the_payment_then_shows_the_credit(self, page, alice, stripe):
        top_up = topup_ask(stripe, alice.account)
        there = f"/dashboard/billing/funds/done?session={top_up.session_id}"
        assert "Waiting for the payment" in page.get(there).content.decode()
        assert wallet_of(alice.account).balance_microusd == 0
        stripe.pay(session=top_up.session_id)
        text = page.get(there).content.decode()
        assert "Funds added" in text
        assert "$10.00" in text

    def test_a_strangers_session_is_not_found(self, client, alice, charlie, stripe):
        top_up = topup_pay(stripe, alice.account)
        client.force_login(charlie.user)
        assert client.get(f"/dashboard/billing/funds/done?session={top_up.session_id}").status_code == 404

    def test_a_developer_may_look_but_not_pay(self, client, bob, stripe):
        client.force_login(bob.user)
        assert client.get("/dashboard/billing/").status_code == 200
        assert add_funds(client).status_code == 403


class TestWishes:
    def test_auto_recharge_without_a_card_leads_to_the_page_that_saves_one(self, page, alice, stripe):
        wish = {"enabled": "on", "threshold": "5", "amount": "25", "monthly_cap": "100"}
        answer = page.post("/dashboard/billing/recharge", wish)
        assert answer.headers["Location"].startswith(stripe.base_url)
        assert AutoRecharge.objects.get().enabled

    def test_a_cap_below_one_recharge_is_refused(self, page, stripe):
        wish = {"enabled": "on", "threshold": "5", "amount": "25", "monthly_cap": "10"}
        page.post("/dashboard/billing/recharge", wish)
        assert AutoRecharge.objects.count() == 0

    def test_limits_are_kept_and_emptied(self, page, alice, stripe):
        page.post("/dashboard/billing/limits", {"spend_warn": "5", "spend_limit": "10.50", "low_balance": "2"})
        wallet = wallet_of(alice.account)
        assert (wallet.spend_warn_microusd, wallet.spend_limit_microusd) == (5_000_000, 10_500_000)
        page.post("/dashboard/billing/limits", {})
        assert wallet_of(alice.account).spend_limit_microusd is None


class TestTheLedger:
    def test_each_entry_shows_the_balance_after_it(self, page, alice):
        fund(alice.account, 1_000_000)
        fund(alice.account, 2_000_000)
        text = page.get("/dashboard/billing/ledger").content.decode()
        assert text.index("$3.00") < text.index("$1.00")

    def test_the_file_carries_running_balances_and_no_formulas(self, page, alice):
        from billing.services import funds_adjust, funds_grant

        now = timezone.now()
        funds_grant(account_id=alice.account.pk, amount_microusd=5_000_000, op_key="a", now=now, reason="=1+1")
        funds_adjust(account_id=alice.account.pk, amount_microusd=-1_234_567, op_key="b", now=now, reason="-x", by=None)
        lines = b"".join(page.get("/dashboard/billing/ledger.csv").streaming_content).decode().splitlines()
        assert lines[1].split(",")[3:5] == ["5.000000", "5.000000"]
        assert lines[2].split(",")[3:5] == ["-1.234567", "3.765433"]
        assert lines[1].split(",")[7] == "'=1+1"

    def test_a_statement_adds_up_from_the_beginning_to_the_end(self, page, alice):
        fund(alice.account, 5_000_000)
        now = timezone.now()
        text = page.get(f"/dashboard/billing/statements/{now.year}-{now.month}").content.decode()
        assert "$5.00" in text
        assert page.get("/dashboard/billing/statements/2019-1").status_code == 404
        assert page.get("/dashboard/billing/statements/2026-13").status_code == 404

    def test_another_accounts_entries_are_nowhere(self, client, alice, charlie):
        fund(alice.account, 7_000_000)
        client.force_login(charlie.user)
        assert "7.0000" not in client.get("/dashboard/billing/ledger").content.decode()
        assert LedgerEntry.objects.count() == 1
        assert Wallet.objects.get(pk=charlie.account.pk).balance_microusd == 0
