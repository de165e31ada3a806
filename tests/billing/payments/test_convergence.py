"""L10: whatever order, however often, some lost: each scenario ends in the state of the orderly delivery."""

import itertools
import random

import pytest
from django.db import transaction
from django.utils import timezone

from billing import stripe_client, stripe_events
from billing.models import (
    Allowance,
    Dispute,
    EventCursor,
    LedgerEntry,
    Refund,
    StripeEvent,
    Subscription,
    TopUp,
    Wallet,
)
from billing.refunds import refund_make
from tests.faults.scene import long_run
from tests.support.stripe import (
    deliver,
    differences,
    portal,
    process,
    receive,
    reconcile_late,
    subscribe,
    topup_ask,
    topup_pay,
)


def state():
    """All that events may bring about, without the ids and moments that differ between runs."""
    return {
        "wallets": sorted(Wallet.objects.values_list("plan_code", "balance_microusd", "held_microusd", "in_arrears")),
        "entries": sorted(LedgerEntry.objects.values_list("op_key", "amount_microusd")),
        "top_ups": sorted(TopUp.objects.values_list("public_id", "state")),
        "subscriptions": sorted(Subscription.objects.values_list("stripe_id", "status", "plan_code")),
        "allowances": sorted(Allowance.objects.values_list("grant_key", "calls_granted")),
        "refunds": sorted(Refund.objects.values_list("public_id", "state")),
        "disputes": sorted(Dispute.objects.values_list("stripe_id", "status", "restored")),
    }


def charge_of(top_up):
    top_up.refresh_from_db()
    return stripe_client.payment_intent_retrieve(payment_intent_id=top_up.payment_intent_id)["latest_charge"]


def intent_of(top_up):
    return stripe_client.session_retrieve(session_id=top_up.session_id)["payment_intent"]


def instant(stripe, account):
    topup_pay(stripe, account)


def delayed(stripe, account):
    stripe.settle(payment_intent=intent_of(topup_pay(stripe, account, method="bank")))


def delayed_failed(stripe, account):
    stripe.settle(payment_intent=intent_of(topup_pay(stripe, account, method="bank")), succeeded=False)


def expired(stripe, account):
    stripe.expire(session=topup_ask(stripe, account).session_id)


def subscribed(stripe, account):
    subscribe(stripe, account, "standard")


def renewed(stripe, account):
    """The first month's messages came then: Stripe lists events of 30 days, so no reconciler finds older ones."""
    subscribe(stripe, account, "standard")
    deliver(stripe)
    stripe.advance(days=33)


def renewal_failed(stripe, account):
    subscribe(stripe, account, "standard")
    deliver(stripe)
    method = stripe.world.all("payment_method")[0]["id"]
    stripe.method_behaves(payment_method=method, behaviour="card_declined")
    stripe.advance(days=33)


def cancelled(stripe, account):
    subscribe(stripe, account, "premium")
    deliver(stripe)
    subscription = stripe.world.all("subscription")[0]["id"]
    stripe.portal_cancel(session=portal(stripe, account), subscription=subscription)
    stripe.advance(days=33)


def refunded(stripe, account):
    top_up = topup_pay(stripe, account)
    deliver(stripe)
    top_up.refresh_from_db()
    refund_make(top_up=top_up, amount_cents=400, reason="asked", by=None, now=timezone.now())


def refund_failed(stripe, account):
    refunded(stripe, account)
    stripe.refund_settle(refund=stripe.world.all("refund")[0]["id"], status="failed")


def disputed(status):
    def scenario(stripe, account):
        top_up = topup_pay(stripe, account)
        deliver(stripe)
        opened = stripe.dispute_open(charge=charge_of(top_up))
        stripe.dispute_close(dispute=opened["id"], status=status)

    return scenario


SCENARIOS = {
    "instant": instant,
    "delayed": delayed,
    "delayed failed": delayed_failed,
    "expired": expired,
    "subscribed": subscribed,
    "renewed": renewed,
    "renewal failed": renewal_failed,
    "cancelled": cancelled,
    "refunded": refunded,
    "refund failed": refund_failed,
    "dispute won": disputed("won"),
    "dispute lost": disputed("lost"),
}
# Of scenarios with more events than `every`, so many orders are drawn; of others all are tried.
ORDERS = {"every": 6, "drawn": 720} if long_run() else {"every": 3, "drawn": 12}


class Rolled(Exception):
    """Ends a try, so that the next one begins where this one began."""


def try_delivery(stripe, events, *, reconciled=False):
    """The state after these deliveries, and nothing of it left."""
    try:
        with transaction.atomic():
            for block in transaction.get_connection().atomic_blocks:
                block._from_testcase = True  # this one is the test's too: Stripe may be asked inside
            for event in events:
                receive(stripe, [event])
                process()
            process(3)
            if reconciled:
                reconcile_late()
            found = state()
            raise Rolled
    except Rolled:
        return found


def orders_of(events, chance):
    """The orders in which events arrive for the first time; each may come again twice, any time after that."""
    if len(events) <= ORDERS["every"]:
        orders = map(list, itertools.permutations(events))
    else:
        orders = (chance.sample(events, len(events)) for _ in range(ORDERS["drawn"]))
    for order in orders:
        for event in list(order):
            for _ in range(chance.randint(0, 2)):
                order.insert(chance.randint(order.index(event) + 1, len(order)), event)
        yield order


def parts_of(events, chance):
    """What arrives of the events while the rest is lost: everything that can be, or some of it drawn."""
    if long_run():
        return [[event for bit, event in enumerate(events) if kept >> bit & 1] for kept in range(2 ** len(events))]
    kept = [event for event in events if chance.random() < 0.5]
    return [[], kept, list(reversed(kept))]


def acted(stripe, account, name):
    """The scenario up to its events; those already delivered on the way are delivered again like the others."""
    SCENARIOS[name](stripe, account)
    StripeEvent.objects.all().delete()
    EventCursor.objects.all().delete()
    return [event for event in stripe.events if event["type"] in stripe_events.TYPES]


@pytest.mark.proves("L10")
@pytest.mark.timeout(1800 if long_run() else 240)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_order_ends_in_the_same_state(alice, stripe, name, record_property):
    chance = random.Random(name)
    events = acted(stripe, alice.account, name)
    assert events
    orderly = try_delivery(stripe, events)
    tries = 0
    for order in orders_of(events, chance):
        assert try_delivery(stripe, order) == orderly, [event["type"] for event in order]
        tries += 1
    for some in parts_of(events, chance):
        assert try_delivery(stripe, some, reconciled=True) == orderly, [event["type"] for event in some]
        tries += 1
    deliver(stripe)
    assert state() == orderly
    record_property("seed", name)
    record_property("tries", f"{tries} deliveries of {len(events)} events")
    record_property("audit", f"{len(differences())} differences")


@pytest.mark.control("L10")
def test_a_credit_keyed_by_the_event_would_not_converge(alice, stripe, monkeypatch):
    """The negative control: two events tell one payment, and a credit per event counts it twice."""
    from billing import ledger, topups

    events = acted(stripe, alice.account, "delayed")
    orderly = try_delivery(stripe, events)
    calls = itertools.count()
    post = ledger.entry_post
    monkeypatch.setattr(
        topups.ledger, "entry_post", lambda **fields: post(**fields | {"op_key": f"event:{next(calls)}"})
    )
    assert try_delivery(stripe, events)["wallets"] != orderly["wallets"]


@pytest.mark.proves("L10")
def test_a_poisoned_event_is_parked_and_the_others_go_on(alice, stripe):
    topup_pay(stripe, alice.account)
    poison = stripe.events[0] | {"id": "evt_poison", "type": "checkout.session.completed"}
    receive(stripe, [poison | {"data": {"object": {"id": "cs_nowhere", "object": "checkout.session"}}}])
    deliver(stripe)
    parked = StripeEvent.objects.get(event_id="evt_poison")
    assert parked.state == "parked"
    assert "PaymentProviderRefused" in parked.problem
    assert Wallet.objects.get(pk=alice.account.pk).balance_microusd == 10_000_000


def test_while_another_worker_has_the_account_the_event_waits(alice, stripe):
    from billing.customers import turn_of

    topup_pay(stripe, alice.account)
    receive(stripe)
    with turn_of(alice.account.pk) as mine:
        assert mine
        process()
        assert LedgerEntry.objects.count() == 0
    process()
    assert LedgerEntry.objects.count() == 1
