"""L12: Stripe's trouble never creates twice and never reaches a picture."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from billing import stripe_client
from billing.errors import PaymentProviderUnavailable, PaymentsNotConfigured
from billing.models import AutoRecharge, LedgerEntry, TopUp, UsageDay, Wallet
from billing.recharge import card_saved, recharge_run, recharge_set, recharges_due
from billing.reconcile import reconcile
from billing.services import plan_assign
from tests.support.money import fund, wallet_of
from tests.support.orders import delivered, place
from tests.support.stripe import deliver, process, receive, reconcile_late, topup_ask, topup_pay

PRICE_MICROUSD = 2_000


def without_limits(member):
    Wallet.objects.filter(pk=member.account.pk).update(
        overrides={"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": 0}
    )


@pytest.mark.proves("L12")
class TestPictures:
    def test_a_thousand_calls_ask_stripe_nothing(self, alice, stripe):
        fund(alice.account, 1_000 * PRICE_MICROUSD)
        without_limits(alice)
        before = len(stripe.requests)
        for _ in range(1_000):
            place(alice)
        assert len(stripe.requests) == before
        assert wallet_of(alice.account).available_microusd == 0

    @pytest.mark.parametrize("outage", ["refused", "hang", "error"])
    def test_an_hours_outage_blocks_no_picture_and_loses_nothing(self, alice, stripe, outage):
        from gateway.services import generation_settle

        topup_pay(stripe, alice.account)
        deliver(stripe)
        late = topup_pay(stripe, alice.account, 500)
        receive(stripe)
        without_limits(alice)
        stripe.refuse_connections() if outage == "refused" else stripe.trouble.chance(1.0, outage, seconds=0.1)
        config = stripe_client.StripeConfig("sk_test_sandbox", api_base=stripe.base_url, timeout_s=0.05, retries_max=0)
        start = timezone.now()
        with stripe_client.connected(config):
            for minutes in range(0, 60, 6):
                with time_machine.travel(start + timedelta(minutes=minutes)):
                    process()
                    reconcile(now=timezone.now())
                    for _ in range(2):
                        made = place(alice).generation
                        generation_settle(generation_id=made.pk, result=delivered(made), now=timezone.now())
        stripe.listen() if outage == "refused" else stripe.trouble.clear()
        process()
        reconcile_late()
        late.refresh_from_db()
        assert late.state == "paid"
        assert wallet_of(alice.account).balance_microusd == 15_000_000 - 20 * PRICE_MICROUSD

    def test_a_missing_permission_is_a_fault_of_configuration(self, alice, stripe):
        stripe.trouble.add("forbidden", path="/v1/checkout/sessions")
        with pytest.raises(PaymentsNotConfigured):
            topup_ask(stripe, alice.account)


class TestCreatingOnce:
    @pytest.mark.control("L12")
    def test_a_new_key_for_every_try_would_make_two_sessions(self, alice, stripe, monkeypatch):
        numbers = iter(range(100))
        honest = stripe_client.checkout_topup_create
        broken = lambda topup_id, **fields: honest(topup_id=f"{topup_id}{next(numbers)}", **fields)  # noqa: E731
        monkeypatch.setattr(stripe_client, "checkout_topup_create", broken)
        stripe.trouble.add("drop_after_commit", method="POST", path="/v1/checkout/sessions")
        from billing.topups import topup_page, topup_start
        from tests.support.stripe import RETURN

        row = topup_start(account=alice.account, amount_cents=500, nonce="n", now=timezone.now(), by=None)
        with pytest.raises(PaymentProviderUnavailable):
            topup_page(top_up=row, **RETURN)
        topup_page(top_up=row, **RETURN)
        assert len(stripe.world.all("checkout.session")) == 2

    @pytest.mark.proves("L12")
    @pytest.mark.parametrize(
        "kind", ["error_after_commit", "drop_after_commit", "conflict", "rate_limit", "unavailable"]
    )
    def test_a_top_up_has_at_most_one_session_whatever_happens(self, alice, stripe, kind):
        stripe.trouble.add(kind, method="POST", path="/v1/checkout/sessions")
        from billing.topups import topup_page, topup_start
        from tests.support.stripe import RETURN

        for _ in range(3):
            row = topup_start(account=alice.account, amount_cents=500, nonce="n", now=timezone.now(), by=None)
            try:
                topup_page(top_up=row, **RETURN)
            except PaymentProviderUnavailable:
                continue
        assert len(stripe.world.all("checkout.session")) == 1
        assert TopUp.objects.get().session_id


class TestAutoRecharge:
    @pytest.fixture
    def wished(self, alice, stripe):
        """A customer with a saved card, 10 dollars, and the wish for 25 more below 20."""
        top_up = topup_ask(stripe, alice.account, 1000, saves_card=True)
        stripe.pay(session=top_up.session_id)
        deliver(stripe)
        recharge_set(
            account=alice.account, enabled=True, threshold_cents=2000, amount_cents=2500, monthly_cap_cents=5000
        )
        return alice

    def run(self, member):
        return recharge_run(account_id=member.account.pk, now=timezone.now())

    def test_below_the_threshold_the_card_is_charged_once(self, stripe, wished, mailoutbox):
        assert self.run(wished).state == "paid"
        assert self.run(wished) is None
        assert wallet_of(wished.account).balance_microusd == 35_000_000
        assert [mail.subject for mail in mailoutbox] == ["Lumen: Funds were added"]

    @pytest.mark.parametrize("kind", ["error_after_commit", "drop_after_commit"])
    def test_a_lost_answer_charges_once(self, stripe, wished, kind):
        stripe.trouble.add(kind, method="POST", path="/v1/payment_intents")
        with pytest.raises(PaymentProviderUnavailable):
            self.run(wished)
        for _ in range(2):
            try:
                self.run(wished)
            except PaymentProviderUnavailable:
                deliver(stripe)
        charged = [intent for intent in stripe.world.all("payment_intent") if intent["status"] == "succeeded"]
        assert len(charged) == 2, "the top-up by hand and one recharge"
        assert wallet_of(wished.account).balance_microusd == 35_000_000

    def test_the_monthly_cap_ends_it_and_tells(self, stripe, wished, mailoutbox):
        AutoRecharge.objects.update(threshold_cents=900_000)
        for _ in range(4):
            self.run(wished)
        assert TopUp.objects.filter(origin="recharge", state="paid").count() == 2
        assert "monthly cap" in mailoutbox[-1].subject

    def test_three_failures_switch_it_off_and_tell(self, stripe, wished, mailoutbox):
        stripe.method_behaves(payment_method=card_saved(wished.account.pk), behaviour="card_declined")
        for _ in range(4):
            self.run(wished)
            AutoRecharge.objects.update(next_attempt_at=None)
        wish = AutoRecharge.objects.get()
        assert (wish.enabled, wish.failures_in_row) == (False, 3)
        assert "switched off" in mailoutbox[-1].body
        assert wallet_of(wished.account).balance_microusd == 10_000_000

    def test_what_will_be_invoiced_is_not_charged_to_the_card_too(self, stripe, wished):
        now = timezone.now()
        plan_assign(account_id=wished.account.pk, plan_code="metered", now=now, postpaid_limit_microusd=10**9)
        assert (recharges_due(now), self.run(wished)) == ([], None)
        plan_assign(account_id=wished.account.pk, plan_code="payg", now=now)
        assert recharges_due(now) == [wished.account.pk]

    def test_switched_off_it_never_charges(self, stripe, wished):
        AutoRecharge.objects.update(enabled=False)
        assert self.run(wished) is None
        assert LedgerEntry.objects.count() == 1


def test_low_balance_is_told_once_after_each_credit(alice, mailoutbox):
    from billing.notices import notices_send

    fund(alice.account, 500_000)
    for _ in range(3):
        notices_send(now=timezone.now())
    assert [mail.subject for mail in mailoutbox] == ["Lumen: Your balance is low"]
    fund(alice.account, 100_000)
    notices_send(now=timezone.now())
    assert len(mailoutbox) == 2
    assert UsageDay.objects.count() == 0
