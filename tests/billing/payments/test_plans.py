"""L15: one entitlement, derived from what Stripe says, and one allowance per paid invoice."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import stripe_client
from billing.errors import PlanNotForSale, SubscriptionExists
from billing.models import Allowance, Subscription, SubscriptionAttempt, Wallet
from billing.prices import prices_ensure
from billing.subscriptions import entitlement_review, subscribe_page, subscription_copy
from tests.support.money import fund, wallet_of
from tests.support.stripe import RETURN, deliver, portal, reconcile_late, subscribe


def plan_of(member):
    return wallet_of(member.account).plan_code


def the_subscription(stripe):
    return stripe.world.all("subscription")[0]


def seen_as(stripe, status, **changes):
    """The subscription as Stripe would show it in another status, copied as the webhook's task would."""
    found = stripe_client.subscription_retrieve(subscription_id=the_subscription(stripe)["id"])
    return subscription_copy(subscription=found | {"status": status} | changes, now=timezone.now())


@pytest.mark.proves("L15")
class TestSubscribing:
    def test_a_paid_plan_holds_at_once_and_standard_brings_its_calls(self, alice, stripe):
        subscribe(stripe, alice.account, "standard")
        deliver(stripe)
        assert plan_of(alice) == "standard"
        allowance = Allowance.objects.get()
        assert (allowance.calls_granted, allowance.calls_used) == (10_000, 0)

    def test_a_second_plan_is_refused_while_one_runs(self, alice, stripe):
        subscribe(stripe, alice.account, "standard")
        with pytest.raises(SubscriptionExists):
            subscribe_page(account=alice.account, plan_code="premium", now=timezone.now(), **RETURN)
        assert len(stripe.world.all("subscription")) == 1

    def test_two_tabs_for_one_plan_share_one_page(self, alice, stripe):
        pages = {subscribe_page(account=alice.account, plan_code="premium", now=timezone.now(), **RETURN) for _ in "12"}
        assert len(pages) == len(stripe.world.all("checkout.session")) == 1

    def test_a_tab_for_another_plan_closes_the_first(self, alice, stripe):
        for plan in ("standard", "premium"):
            subscribe_page(account=alice.account, plan_code=plan, now=timezone.now(), **RETURN)
        assert [session["status"] for session in stripe.world.all("checkout.session")] == ["expired", "open"]
        assert SubscriptionAttempt.objects.filter(state="open").count() == 1

    @pytest.mark.parametrize("plan", ["free", "payg", "nothing", ""])
    def test_what_has_no_price_is_not_for_sale(self, alice, stripe, plan):
        with pytest.raises(PlanNotForSale):
            subscribe_page(account=alice.account, plan_code=plan, now=timezone.now(), **RETURN)

    def test_the_set_up_finds_what_it_made(self, alice, stripe):
        first = {price.stripe_id for price in prices_ensure(now=timezone.now())}
        assert {price.stripe_id for price in prices_ensure(now=timezone.now())} == first
        assert len(stripe.world.all("price")) == len(first) == 4


@pytest.mark.proves("L15")
class TestEntitlement:
    @pytest.mark.parametrize(
        ("status", "plan"),
        [
            ("active", "premium"),
            ("trialing", "premium"),
            ("past_due", "premium"),
            ("unpaid", "free"),
            ("paused", "free"),
            ("incomplete", "free"),
            ("incomplete_expired", "free"),
            ("canceled", "free"),
            ("brand_new_status", "free"),
        ],
    )
    def test_each_status_entitles_or_not(self, alice, stripe, status, plan):
        subscribe(stripe, alice.account, "premium")
        deliver(stripe)
        seen_as(stripe, status)
        assert plan_of(alice) == plan

    def test_the_grace_of_an_unpaid_invoice_ends(self, alice, stripe):
        subscribe(stripe, alice.account, "premium")
        deliver(stripe)
        seen_as(stripe, "past_due")
        late = timezone.now() + timedelta(days=8)
        entitlement_review(account_id=alice.account.pk, now=late)
        assert plan_of(alice) == "free"

    def test_a_price_that_is_none_of_ours_entitles_to_nothing(self, alice, stripe):
        subscribe(stripe, alice.account, "premium")
        deliver(stripe)
        found = stripe_client.subscription_retrieve(subscription_id=the_subscription(stripe)["id"])
        found["items"]["data"][0]["price"] = {"id": "price_of_somebody", "lookup_key": None}
        subscription_copy(subscription=found, now=timezone.now())
        assert plan_of(alice) == "free"

    def test_who_has_added_funds_falls_back_to_pay_as_you_go(self, alice, stripe):
        fund(alice.account, 1_000_000)
        subscribe(stripe, alice.account, "premium")
        deliver(stripe)
        seen_as(stripe, "canceled")
        assert plan_of(alice) == "payg"

    def test_a_plan_that_the_operator_gave_is_left_alone(self, alice, stripe):
        Wallet.objects.filter(pk=alice.account.pk).update(plan_code="enterprise")
        entitlement_review(account_id=alice.account.pk, now=timezone.now())
        assert plan_of(alice) == "enterprise"


class TestChanges:
    @pytest.mark.proves("L15")
    def test_a_renewal_grants_once_more(self, alice, stripe):
        subscribe(stripe, alice.account, "standard")
        deliver(stripe)
        stripe.advance(days=33)
        for _ in range(3):
            deliver(stripe)
        assert Allowance.objects.count() == 2
        assert len({(row.period_start, row.period_end) for row in Allowance.objects.all()}) == 2

    def test_cancelling_keeps_the_plan_until_the_end_and_shows_it(self, alice, stripe):
        subscribe(stripe, alice.account, "premium")
        deliver(stripe)
        stripe.portal_cancel(session=portal(stripe, alice.account), subscription=the_subscription(stripe)["id"])
        deliver(stripe)
        copy = Subscription.objects.get()
        assert (plan_of(alice), copy.status) == ("premium", "active")
        assert copy.ends_at == copy.period_end
        stripe.advance(days=33)
        deliver(stripe)
        assert plan_of(alice) == "free"

    @pytest.mark.proves("L15")
    def test_an_upgrade_holds_at_once_and_a_downgrade_at_the_end(self, alice, stripe):
        prices = {price.plan_code: price.stripe_id for price in prices_ensure(now=timezone.now())}
        subscribe(stripe, alice.account, "unlimited")
        deliver(stripe)
        switch = {"subscription": the_subscription(stripe)["id"], "session": portal(stripe, alice.account)}
        stripe.portal_switch(price=prices["premium"], **switch)
        deliver(stripe)
        assert plan_of(alice) == "premium"
        stripe.portal_switch(price=prices["unlimited"], **switch)
        deliver(stripe)
        assert plan_of(alice) == "premium"
        stripe.advance(days=33)
        deliver(stripe)
        assert plan_of(alice) == "unlimited"

    def test_up_and_down_and_up_again_is_no_way_to_more_calls(self, alice, stripe):
        prices = {price.plan_code: price.stripe_id for price in prices_ensure(now=timezone.now())}
        subscribe(stripe, alice.account, "unlimited")
        deliver(stripe)
        switch = {"subscription": the_subscription(stripe)["id"], "session": portal(stripe, alice.account)}
        for plan in ("standard", "premium"):
            stripe.portal_switch(price=prices[plan], **switch)
            deliver(stripe)
        assert Allowance.objects.count() == 1

    def test_the_reconciler_alone_brings_a_plan_and_its_end(self, alice, stripe):
        subscribe(stripe, alice.account, "standard")
        reconcile_late()
        assert (plan_of(alice), Allowance.objects.count()) == ("standard", 1)

    @pytest.mark.control("L15")
    def test_without_the_unique_invoice_a_second_message_would_grant_twice(self, alice, stripe):
        """The negative control: the same deliveries against a broken key of the grant."""
        import itertools

        from billing import subscriptions

        numbers = itertools.count()
        original = subscriptions.Allowance.objects.get_or_create
        broken = lambda grant_key, defaults: original(grant_key=f"{next(numbers)}", defaults=defaults)  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subscriptions.Allowance.objects, "get_or_create", broken)
            subscribe(stripe, alice.account, "standard")
            deliver(stripe)
            from billing.subscriptions import invoice_refresh

            for invoice in stripe.world.all("invoice") * 2:
                invoice_refresh(invoice_id=invoice["id"], now=timezone.now())
        assert Allowance.objects.count() > 1
