"""What a customer and the provider may do to each other, from the first top-up to the end of a plan."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import stripe_client
from billing.customers import customer_ensure
from billing.models import (
    Allowance,
    AutoRecharge,
    Dispute,
    LedgerEntry,
    Refund,
    StripePrice,
    Subscription,
    SubscriptionAttempt,
    TopUp,
    UsageExport,
)
from billing.prices import prices_ensure
from billing.recharge import recharge_run, recharge_set
from billing.refunds import refund_make
from billing.services import plan_assign
from billing.subscriptions import portal_page, subscribe_page
from billing.topups import topup_page, topup_start
from billing.usage_export import exports_compare, exports_send
from gateway.services import generation_settle
from tests.billing.scenarios.targets import KEY, key_of_test_mode
from tests.support.money import wallet_of
from tests.support.orders import delivered, place
from tests.support.stripe import RETURN, process

TEN_MICROUSD = 10_000_000
RECHARGE_MICROUSD = 25_000_000


def asks_for_funds(member):
    top_up = topup_start(account=member.account, amount_cents=1000, nonce="form", now=timezone.now(), by=None)
    page = topup_page(top_up=top_up, **RETURN)
    top_up.refresh_from_db()
    return top_up, page


def recharged(target, member, card):
    """Auto-recharge with a card that behaves as its test name says."""
    target.customer(member, card=card)
    recharge_set(
        account=member.account, enabled=True, threshold_cents=2000, amount_cents=2500, monthly_cap_cents=50_000
    )
    return recharge_run(account_id=member.account.pk, now=timezone.now())


def subscribed(target, member, *, plan="standard"):
    """With a clock of its own, as if the customer had come back from the provider's page."""
    prices_ensure(now=timezone.now())
    customer_id = target.customer(member, clock=True)
    price = StripePrice.objects.get(plan_code=plan, current=True)
    made = target.v1.subscriptions.create(
        {
            "customer": customer_id,
            "items": [{"price": price.stripe_id}],
            "metadata": {"account": str(member.account.pk)},
        }
    )
    target.until(lambda: wallet_of(member.account).plan_code == plan, "the plan")
    return customer_id, made.id


def status():
    return Subscription.objects.get().status


class TestFunds:
    def test_asked_for_twice_there_is_one_page_and_an_expired_one_credits_nothing(self, alice, target):
        (first, page), (second, again) = asks_for_funds(alice), asks_for_funds(alice)
        assert (first.pk, page) == (second.pk, again)
        target.v1.checkout.sessions.expire(first.session_id)
        target.until(lambda: TopUp.objects.get().state == "expired", "the expiry")
        assert LedgerEntry.objects.count() == 0

    def test_a_paid_page_credits_our_amount_once(self, alice, target):
        top_up, _ = asks_for_funds(alice)
        target.pay(top_up.session_id)
        target.until(lambda: TopUp.objects.get().state == "paid", "the payment")
        process(2)
        assert wallet_of(alice.account).balance_microusd == TEN_MICROUSD
        assert wallet_of(alice.account).plan_code == "payg"

    def test_a_saved_card_recharges_once(self, alice, target):
        assert recharged(target, alice, "pm_card_visa").state == "paid"
        assert recharge_run(account_id=alice.account.pk, now=timezone.now()) is None
        assert wallet_of(alice.account).balance_microusd == RECHARGE_MICROUSD

    @pytest.mark.parametrize("card", ["pm_card_chargeCustomerFail", "pm_card_authenticationRequired"])
    def test_a_card_that_does_not_pay_credits_nothing_and_is_noted(self, alice, target, card):
        assert recharged(target, alice, card).state == "failed"
        assert AutoRecharge.objects.get().failures_in_row == 1
        assert LedgerEntry.objects.count() == 0


class TestMoneyBack:
    def test_a_part_is_given_back_once(self, alice, target):
        top_up = recharged(target, alice, "pm_card_visa")
        refund_make(top_up=top_up, amount_cents=400, reason="asked", by=None, now=timezone.now())
        target.until(lambda: Refund.objects.get().state == "succeeded", "the refund")
        assert wallet_of(alice.account).balance_microusd == RECHARGE_MICROUSD - 4_000_000
        intent = stripe_client.payment_intent_retrieve(payment_intent_id=top_up.payment_intent_id)
        assert stripe_client.charge_retrieve(charge_id=intent["latest_charge"])["amount_refunded"] == 400

    @pytest.mark.parametrize(
        ("evidence", "ends", "left"), [("winning_evidence", "won", RECHARGE_MICROUSD), ("losing_evidence", "lost", 0)]
    )
    def test_a_dispute_takes_and_a_won_one_returns_once(self, alice, target, evidence, ends, left):
        recharged(target, alice, "pm_card_createDispute")
        target.until(Dispute.objects.exists, "the dispute")
        assert wallet_of(alice.account).balance_microusd == 0
        target.v1.disputes.update(
            Dispute.objects.get().stripe_id, {"evidence": {"uncategorized_text": evidence}, "submit": True}
        )
        target.until(lambda: Dispute.objects.get().status == ends, "the end of the dispute")
        process(2)
        assert wallet_of(alice.account).balance_microusd == left


class TestPlans:
    def test_the_prices_are_made_once_and_the_portal_opens(self, alice, target):
        first, second = ({row.stripe_id for row in prices_ensure(now=timezone.now())} for _ in range(2))
        assert first == second
        target.customer(alice)
        assert portal_page(account=alice.account, return_url="https://example.com/", now=timezone.now()).startswith(
            "http"
        )

    def test_a_plan_is_paid_for_at_the_page(self, alice, target):
        prices_ensure(now=timezone.now())
        target.customers.append(customer_ensure(account=alice.account, now=timezone.now()))
        subscribe_page(account=alice.account, plan_code="premium", now=timezone.now(), **RETURN)
        target.pay(SubscriptionAttempt.objects.get().session_id)
        target.until(lambda: wallet_of(alice.account).plan_code == "premium", "the plan")
        assert Subscription.objects.get().plan_code == "premium"

    def test_each_paid_month_brings_its_calls_once(self, alice, target):
        subscribed(target, alice)
        target.until(lambda: Allowance.objects.count() == 1, "the first month's calls")
        target.advance(days=33)
        target.until(lambda: Allowance.objects.count() == 2, "the second month's calls")
        process(2)
        assert list(Allowance.objects.values_list("calls_granted", flat=True)) == [10_000, 10_000]

    def test_a_failed_renewal_is_past_due_and_grants_nothing(self, alice, target):
        customer_id, _ = subscribed(target, alice)
        target.until(lambda: Allowance.objects.count() == 1, "the first month's calls")
        target.card_becomes(customer_id, "pm_card_chargeCustomerFail")
        target.advance(days=33)
        target.until(lambda: status() == "past_due", "the failure")
        assert wallet_of(alice.account).plan_code == "standard", "within the grace"
        assert Allowance.objects.count() == 1

    def test_a_cancelled_plan_holds_until_its_end(self, alice, target):
        _, subscription_id = subscribed(target, alice)
        target.v1.subscriptions.update(subscription_id, {"cancel_at_period_end": True})
        target.until(lambda: Subscription.objects.get().ends_at is not None, "the announced end")
        assert wallet_of(alice.account).plan_code == "standard"
        target.advance(days=33)
        target.until(lambda: status() == "canceled", "the end")
        assert wallet_of(alice.account).plan_code == "free"


def test_post_paid_calls_reach_the_meter_once(alice, target, settings):
    settings.USAGE_EXPORT = True
    prices_ensure(now=timezone.now())
    target.customer(alice)
    plan_assign(account_id=alice.account.pk, plan_code="metered", now=timezone.now(), postpaid_limit_microusd=10**9)
    made = place(alice, samples=3).generation
    generation_settle(generation_id=made.pk, result=delivered(made), now=timezone.now())
    assert exports_send(now=timezone.now()) == 1
    UsageExport.objects.update(state="new", next_attempt_at=timezone.now())
    assert exports_send(now=timezone.now()) == 1, "its identifier is known there"

    def counted():
        exports_compare(now=timezone.now() + timedelta(hours=27))
        return UsageExport.objects.get().state == "counted"

    target.until(counted, "the meter's sum")
    assert Subscription.objects.get().plan_code == "metered"


@pytest.mark.parametrize("key", ["sk_live_x", "rk_live_x", "pk_test_x", "anything"])
def test_no_key_but_a_key_of_test_mode_is_ever_used(monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    with pytest.raises(ValueError, match="a live key is never used here"):
        key_of_test_mode()
