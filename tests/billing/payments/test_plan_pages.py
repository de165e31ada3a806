"""What a customer reads about plans and payments: before one is taken, in each state, in mails, receipts and months."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import MoneyNotice, Subscription, TopUp, Wallet
from billing.notices import notices_send
from billing.standing import standing_of
from tests.support.money import fund, wallet_of
from tests.support.stripe import deliver, portal, subscribe, topup_pay


@pytest.fixture
def page(alice, client):
    client.force_login(alice.user)
    return client


def read(page, address):
    answer = page.get(address)
    assert answer.status_code == 200, address
    return " ".join(answer.content.decode().split())


def subscribed(stripe, member, plan="standard", **changes):
    subscribe(stripe, member.account, plan)
    deliver(stripe)
    Subscription.objects.update(**changes)
    return Subscription.objects.get()


def told(mailoutbox, now=None):
    """The subjects of the mails that this run of the notices sends."""
    before = len(mailoutbox)
    notices_send(now=now or timezone.now())
    return [mail.subject.removeprefix("Lumen: ") for mail in mailoutbox[before:]]


class TestBeforeItIsTaken:
    def test_it_shows_each_limit_now_and_then_and_what_becomes_of_funds(self, page, alice, stripe):
        fund(alice.account, 12_340_000)
        text = read(page, "/dashboard/billing/plans/standard")
        assert "<td>Shared</td>" in text
        assert '<td class="dim">None</td><td><strong>10,000</strong></td>' in text
        assert '<td class="dim">100</td><td><strong>None</strong></td>' in text
        assert "The 100 free calls a day belong to" in text
        assert "Your funds of $12.34 stay yours" in text
        assert "$47.00 now, and again each month" in text
        assert "Continue to payment" in text
        assert Subscription.objects.count() == 0

    def test_the_accounts_own_numbers_count_on_both_sides(self, page, alice, stripe):
        Wallet.objects.filter(pk=alice.account.pk).update(overrides={"calls_per_minute": 7})
        text = read(page, "/dashboard/billing/plans/premium")
        assert '<th scope="row">Calls a minute</th><td>7</td><td>7</td>' in text

    def test_who_has_a_plan_reads_when_the_change_holds_and_goes_on_in_the_portal(self, page, alice, stripe):
        subscribed(stripe, alice)
        upgrade = read(page, "/dashboard/billing/plans/premium")
        assert "The change holds at once" in upgrade
        assert "/dashboard/billing/portal" in upgrade
        assert "/dashboard/billing/subscribe" not in upgrade
        assert "You keep Standard until" in read(page, "/dashboard/billing/plans/unlimited")
        assert "This is your plan already" in read(page, "/dashboard/billing/plans/standard")

    @pytest.mark.parametrize("code", ["free", "metered", "nothing"])
    def test_what_is_not_for_sale_has_no_page(self, page, stripe, code):
        assert page.get(f"/dashboard/billing/plans/{code}").status_code == 404

    def test_a_developer_may_look_and_not_buy(self, client, bob, stripe):
        client.force_login(bob.user)
        text = read(client, "/dashboard/billing/plans/premium")
        assert "Continue to payment" not in text
        assert "An owner or a billing member" in text


class TestStates:
    @pytest.mark.parametrize(
        ("changes", "tone", "words"),
        [
            ({"status": "active"}, "ok", "It renews on"),
            ({"status": "trialing"}, "ok", "The first payment is on"),
            ({"status": "active", "ends_at": timezone.now() + timedelta(days=3)}, "warn", "It ends on"),
            ({"status": "past_due", "past_due_since": timezone.now()}, "warn", "The plan stays until"),
            ({"status": "past_due", "past_due_since": timezone.now() - timedelta(days=8)}, "bad", "unpaid for 7 days"),
            ({"status": "unpaid"}, "bad", "tried for the last time"),
            ({"status": "paused"}, "bad", "goes on once a payment succeeds"),
            ({"status": "invented_later"}, "bad", "gives nothing at present"),
        ],
    )
    def test_each_is_told_in_words(self, page, alice, stripe, changes, tone, words):
        subscription = subscribed(stripe, alice, **changes)
        assert standing_of(subscription, timezone.now()).tone == tone
        text = read(page, "/dashboard/billing/")
        assert words in text
        assert ("Your plan needs you" in text) == (tone == "bad" or subscription.status == "past_due")


class TestMails:
    def test_a_plan_that_begins_is_told_once(self, alice, stripe, mailoutbox):
        subscribed(stripe, alice)
        assert told(mailoutbox) == ["Your plan is Standard"]
        assert told(mailoutbox) == []
        assert "It renews on" in mailoutbox[-1].body

    def test_a_change_an_announced_end_and_the_end_are_told(self, alice, stripe, mailoutbox):
        subscription = subscribed(stripe, alice)
        told(mailoutbox)
        Subscription.objects.update(plan_code="premium", price_id="price_premium")
        assert told(mailoutbox) == ["Your plan is Premium"]
        Subscription.objects.update(plan_code="standard", price_id=subscription.price_id)
        stripe.portal_cancel(session=portal(stripe, alice.account), subscription=subscription.stripe_id)
        deliver(stripe)
        (subject,) = told(mailoutbox)
        assert subject.startswith("Standard ends on")
        stripe.advance(days=33)
        deliver(stripe)
        assert told(mailoutbox) == ["Standard has ended"]
        assert "Your funds stay yours" in mailoutbox[-1].body

    @pytest.mark.parametrize(
        ("status", "days"), [("past_due", 8), ("unpaid", 0), ("paused", 0)], ids=["grace over", "unpaid", "paused"]
    )
    def test_a_plan_that_an_unpaid_invoice_stopped_is_told_once(self, alice, stripe, mailoutbox, status, days):
        subscribed(stripe, alice)
        told(mailoutbox)
        since = timezone.now() - timedelta(days=days) if days else None
        Subscription.objects.update(status=status, past_due_since=since)
        assert told(mailoutbox) == ["Standard gives nothing at present"]
        assert told(mailoutbox) == []

    def test_within_the_grace_only_each_failed_payment_is_told(self, alice, stripe, mailoutbox):
        subscribed(stripe, alice)
        told(mailoutbox)
        Subscription.objects.update(status="past_due", past_due_since=timezone.now())
        assert told(mailoutbox) == []

    def test_plans_and_payments_of_long_ago_are_no_news(self, alice, stripe, mailoutbox):
        subscribed(stripe, alice, created_at=timezone.now() - timedelta(days=40))
        topup_pay(stripe, alice.account)
        deliver(stripe)
        TopUp.objects.update(paid_at=timezone.now() - timedelta(days=3))
        assert told(mailoutbox) == []
        assert not MoneyNotice.objects.exists()


class TestReceipts:
    @pytest.fixture
    def paid(self, alice, stripe):
        topup_pay(stripe, alice.account, 2550)
        deliver(stripe)
        return TopUp.objects.get()

    def test_a_payment_brings_a_mail_with_its_receipt_once(self, page, paid, mailoutbox):
        assert told(mailoutbox) == ["Funds were added"]
        assert told(mailoutbox) == []
        assert "$25.50 was paid" in mailoutbox[0].body
        address = mailoutbox[0].body.split(f"Receipt {paid.receipt_number}: ")[1].split()[0]
        assert f"Receipt {paid.receipt_number}" in read(page, address)

    def test_it_names_both_sides_the_sum_and_what_was_given_back(self, page, alice, stripe, paid):
        from billing.refunds import refund_make

        refund_make(top_up=paid, amount_cents=1000, reason="asked", by=None, now=timezone.now())
        text = read(page, f"/dashboard/billing/receipts/{paid.public_id}")
        for words in ("alice@example.org", "$25.50", "-$10.00", "<strong>$15.50</strong>", "No real money"):
            assert words in text.replace("−", "-"), words
        ledger = read(page, "/dashboard/billing/ledger")
        assert f"/dashboard/billing/receipts/{paid.public_id}" in ledger

    def test_an_unpaid_one_has_none_and_a_stranger_finds_none(self, page, client, paid, charlie):
        address = f"/dashboard/billing/receipts/{paid.public_id}"
        TopUp.objects.update(state="open")
        assert page.get(address).status_code == 404
        TopUp.objects.update(state="paid")
        client.force_login(charlie.user)
        assert client.get(address).status_code == 404


class TestMonths:
    def test_a_months_ledger_opens_with_the_balance_of_before(self, page, alice):
        from billing.models import LedgerEntry

        fund(alice.account, 1_500_000)
        with_old = timezone.now().replace(day=1) - timedelta(days=5)
        LedgerEntry.objects.bulk_create(
            [
                LedgerEntry(
                    wallet_id=alice.account.pk, kind="grant", amount_microusd=500_000, op_key="old", created_at=with_old
                )
            ]
        )
        month = timezone.now().strftime("%Y-%m")
        answer = page.get(f"/dashboard/billing/ledger.csv?month={month}")
        lines = b"".join(answer.streaming_content).decode().splitlines()
        assert len(lines) == 2
        assert lines[1].split(",")[3:5] == ["1.500000", "2.000000"]
        assert f"ledger-{month}.csv" in answer.headers["Content-Disposition"]

    def test_the_statement_totals_as_page_and_as_file(self, page, alice):
        from tests.support.money import move_to
        from tests.support.orders import delivered, place

        fund(alice.account, 1_000_000)
        move_to(alice.account, "payg")
        Wallet.objects.update(overrides={"free_calls_per_day": 0})
        from gateway.caching import caches_clear
        from gateway.services import generation_settle

        caches_clear()
        made = place(alice, samples=2).generation
        generation_settle(generation_id=made.pk, result=delivered(made), now=timezone.now())
        now = timezone.now()
        text = read(page, f"/dashboard/billing/statements/{now.year}-{now.month}")
        assert "Came in" in text
        assert "Went out" in text
        file = page.get(f"/dashboard/billing/statements/{now.year}-{now.month}.csv").content.decode().splitlines()
        charged = -wallet_of(alice.account).balance_microusd + 1_000_000
        assert file[0] == "section,what,entries,images,amount_usd"
        assert file[-1] == f"usage,total,1,2,{charged / 1e6:.6f}"
        assert [line for line in file if line.startswith("balance,closing")] == [
            f"balance,closing,,,{(1_000_000 - charged) / 1e6:.6f}"
        ]

    @pytest.mark.parametrize("month", ["2019-12", "2026-13", "2999-01", "x", "2026"])
    def test_a_month_that_has_no_ledger_is_not_found(self, page, month):
        assert page.get("/dashboard/billing/ledger.csv", {"month": month}).status_code == 404
