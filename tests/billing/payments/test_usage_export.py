"""Post-paid calls at the provider: each charge is counted once, invoiced, compared with our books, and paid."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import stripe_client
from billing.metered import metered_keep, metered_waiting
from billing.models import ExportState, LedgerEntry, StripePrice, Subscription, UsageExport
from billing.prices import METER_EVENT
from billing.services import plan_assign, price_set
from billing.usage_export import exports_compare, exports_send
from gateway.services import generation_settle
from tests.billing.sandbox.flows import real_client
from tests.support.money import move_to, wallet_of
from tests.support.orders import delivered, place
from tests.support.stripe import deliver, reconcile_late

PRICE_MICROUSD = 200_000  # the provider carries less than half a dollar over to the next invoice
CHARGED_MICROUSD = 5 * PRICE_MICROUSD


@pytest.fixture
def debtor(alice, stripe, settings):
    settings.USAGE_EXPORT = True
    price_set(price_code="sd15", amount_microusd=PRICE_MICROUSD, effective_from=timezone.now(), account=alice.account)
    give_plan(alice)
    return alice


def give_plan(member):
    plan_assign(account_id=member.account.pk, plan_code="metered", now=timezone.now(), postpaid_limit_microusd=10**9)


def draw(member, samples=1):
    made = place(member, samples=samples).generation
    generation_settle(generation_id=made.pk, result=delivered(made), now=timezone.now())


def drawn(member):
    draw(member, 4)
    draw(member)


def send(later=timedelta()):
    return exports_send(now=timezone.now() + later)


def keep():
    metered_keep(now=timezone.now())


def subscriptions_there(stripe):
    return [(one["status"], one["cancel_at_period_end"]) for one in stripe.world.all("subscription")]


def states():
    return sorted(UsageExport.objects.values_list("state", flat=True))


def meter_total(stripe):
    """What the meter has counted for all time."""
    return sum(int(event["payload"]["value"]) for event in stripe.world.all("billing.meter_event"))


def compare(later=timedelta()):
    """Once the sums of today have settled."""
    exports_compare(now=timezone.now() + timedelta(hours=27) + later)


class TestTheOutbox:
    def test_a_charge_is_a_row_with_the_ledgers_own_key(self, debtor):
        drawn(debtor)
        entries = LedgerEntry.objects.filter(kind="capture").values_list("op_key", "amount_microusd")
        rows = UsageExport.objects.values_list("op_key", "value_microusd")
        assert sorted(rows) == sorted((key, -amount) for key, amount in entries)

    def test_off_it_writes_and_sends_nothing(self, debtor, settings, stripe):
        settings.USAGE_EXPORT = False
        drawn(debtor)
        assert not UsageExport.objects.exists()
        assert wallet_of(debtor.account).balance_microusd == -CHARGED_MICROUSD

    def test_what_funds_paid_is_not_exported(self, debtor):
        from tests.support.money import fund

        fund(debtor.account, 4 * PRICE_MICROUSD)
        drawn(debtor)
        assert list(UsageExport.objects.values_list("value_microusd", flat=True)) == [PRICE_MICROUSD]


class TestSending:
    def test_each_charge_is_counted_once(self, debtor, stripe):
        drawn(debtor)
        assert [send(), send()] == [2, 0]
        assert (states(), meter_total(stripe)) == (["sent", "sent"], CHARGED_MICROUSD)

    @pytest.mark.parametrize("kind", ["error_after_commit", "drop_after_commit", "unavailable", "rate_limit"])
    def test_a_lost_answer_is_asked_again_and_counted_once(self, debtor, stripe, kind):
        drawn(debtor)
        keep()
        stripe.trouble.add(kind, method="POST", path="/v1/billing/meter_events")
        send()
        assert "new" in states()
        for _ in range(2):
            UsageExport.objects.update(next_attempt_at=timezone.now())
            send()
        assert (states(), meter_total(stripe)) == (["sent", "sent"], CHARGED_MICROUSD)

    def test_without_the_identifier_a_lost_answer_would_count_twice(self, debtor, stripe, monkeypatch):
        """The negative control."""
        numbers = iter(range(100))
        honest = stripe_client.meter_event_create
        broken = lambda identifier, **fields: honest(identifier=f"{next(numbers)}", **fields)  # noqa: E731
        monkeypatch.setattr(stripe_client, "meter_event_create", broken)
        drawn(debtor)
        keep()
        stripe.trouble.add("drop_after_commit", method="POST", path="/v1/billing/meter_events")
        send()
        UsageExport.objects.update(next_attempt_at=timezone.now())
        send()
        assert meter_total(stripe) > CHARGED_MICROUSD

    def test_usage_of_a_month_that_is_invoiced_already_is_reported_in_the_running_one(self, debtor, stripe):
        """However old it is; Stripe takes no usage of more than 35 days."""
        drawn(debtor)
        keep()
        begun = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        Subscription.objects.update(created_at=begun - timedelta(days=60))
        UsageExport.objects.update(used_at=begun - timedelta(days=40))
        assert send() == 2
        assert {event["timestamp"] for event in stripe.world.all("billing.meter_event")} == {int(begun.timestamp())}

    def test_what_may_have_arrived_in_time_is_compared_before_it_is_moved(self, debtor, stripe):
        drawn(debtor)
        keep()
        used = timezone.now().replace(day=1) - timedelta(days=3)
        UsageExport.objects.update(used_at=used, tried_at=timezone.now())
        assert send() == 0
        assert (states(), meter_total(stripe)) == (["unsure", "unsure"], 0)
        compare()
        UsageExport.objects.update(next_attempt_at=timezone.now())
        assert send() == 2
        assert meter_total(stripe) == CHARGED_MICROUSD


class TestTheSubscription:
    def test_it_begins_with_the_plan(self, debtor, stripe):
        assert metered_waiting(timezone.now())
        for _ in range(2):
            keep()
        assert not metered_waiting(timezone.now())
        assert subscriptions_there(stripe) == [("active", False)]
        assert Subscription.objects.get().plan_code == "metered"
        assert (wallet_of(debtor.account).plan_code, wallet_of(debtor.account).subscribed) == ("metered", False)
        assert StripePrice.objects.get().amount_cents == 0

    @pytest.mark.parametrize("kind", ["error_after_commit", "drop_after_commit", "unavailable", "refuse"])
    def test_trouble_begins_it_later_and_once(self, debtor, stripe, kind):
        stripe.trouble.add(kind, method="POST", path="/v1/subscriptions")
        keep()
        assert metered_waiting(timezone.now())
        for _ in range(2):
            keep()
        assert subscriptions_there(stripe) == [("active", False)]
        assert not metered_waiting(timezone.now())

    def test_it_ends_with_the_plan_and_goes_on_with_a_plan_given_again(self, debtor, stripe):
        """A second one beside it would bill the rest of the month twice."""
        keep()
        move_to(debtor.account, "payg")
        keep()
        assert subscriptions_there(stripe) == [("active", True)]
        give_plan(debtor)
        keep()
        assert subscriptions_there(stripe) == [("active", False)]
        assert not metered_waiting(timezone.now())

    def test_one_that_ended_long_ago_takes_no_new_plan_away(self, debtor, stripe):
        keep()
        move_to(debtor.account, "payg")
        keep()
        stripe.advance(days=32)
        deliver(stripe)
        give_plan(debtor)
        keep()
        assert wallet_of(debtor.account).plan_code == "metered"
        assert subscriptions_there(stripe) == [("canceled", True), ("active", False)]


class TestComparing:
    def test_a_settled_day_that_agrees_is_confirmed(self, debtor):
        drawn(debtor)
        send()
        compare()
        assert states() == ["counted", "counted"]

    @pytest.mark.parametrize(("arrived", "ends"), [(True, "counted"), (False, "sent")])
    def test_an_old_attempt_is_compared_before_it_may_be_sent_again(self, debtor, stripe, arrived, ends):
        drawn(debtor)
        keep()
        stripe.trouble.add("drop_after_commit" if arrived else "unavailable", path="/v1/billing/meter_events")
        send()
        UsageExport.objects.exclude(tried_at=None).update(tried_at=timezone.now() - timedelta(days=1))
        UsageExport.objects.update(next_attempt_at=timezone.now())
        send()
        assert states() == ["sent", "unsure"]
        compare()
        UsageExport.objects.update(next_attempt_at=timezone.now())
        send()
        assert ends in states()
        assert meter_total(stripe) == CHARGED_MICROUSD

    def test_a_difference_that_lasts_is_parked_with_both_sums(self, debtor, stripe):
        drawn(debtor)
        send()
        lost = UsageExport.objects.first()
        real_client(stripe).v1.billing.meter_event_adjustments.create(
            {"event_name": METER_EVENT, "type": "cancel", "cancel": {"identifier": lost.op_key}}
        )
        compare()
        assert states() == ["sent", "sent"]
        compare(timedelta(days=3))
        assert states() == ["parked", "parked"]
        assert f"we sent {CHARGED_MICROUSD}" in UsageExport.objects.first().problem


class TestTheInvoice:
    def month(self, stripe, member):
        drawn(member)
        UsageExport.objects.update(used_at=timezone.now() - timedelta(minutes=5))  # the subscription began after it
        send()
        stripe.advance(days=32)
        deliver(stripe)
        return next(one for one in stripe.world.all("invoice") if one["billing_reason"] == "subscription_cycle")

    def test_the_months_charges_are_invoiced_and_a_paid_invoice_settles_them_once(self, debtor, stripe):
        invoice = self.month(stripe, debtor)
        assert (invoice["status"], invoice["amount_due"]) == ("open", CHARGED_MICROUSD // 10_000)
        assert wallet_of(debtor.account).balance_microusd == -CHARGED_MICROUSD
        stripe.invoice_pay(invoice=invoice["id"])
        for _ in range(2):
            deliver(stripe)
        assert wallet_of(debtor.account).balance_microusd == 0
        assert LedgerEntry.objects.get(kind="invoice").op_key == f"invoice:{invoice['id']}"

    def test_the_reconciler_finds_a_payment_whose_message_was_lost(self, debtor, stripe):
        invoice = self.month(stripe, debtor)
        stripe.invoice_pay(invoice=invoice["id"])
        reconcile_late()
        assert wallet_of(debtor.account).balance_microusd == 0

    def test_a_subscription_that_is_not_paid_ends_post_paid_use(self, debtor, stripe):
        self.month(stripe, debtor)
        real_client(stripe).v1.subscriptions.cancel(Subscription.objects.get().stripe_id)
        deliver(stripe)
        wallet = wallet_of(debtor.account)
        assert (wallet.postpaid_limit_microusd, wallet.in_arrears, wallet.plan_code) == (None, True, "free")

    def test_the_operators_end_leaves_one_last_invoice(self, debtor, stripe):
        drawn(debtor)
        send()
        move_to(debtor.account, "payg")
        keep()
        assert Subscription.objects.get().ends_at is not None
        stripe.advance(days=32)
        deliver(stripe)
        last = stripe.world.all("invoice")[-1]
        assert (last["status"], last["amount_due"]) == ("open", CHARGED_MICROUSD // 10_000)
        assert wallet_of(debtor.account).plan_code == "payg"
        assert ExportState.PARKED not in states()
