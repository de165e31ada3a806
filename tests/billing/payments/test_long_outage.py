"""L10 after a long silence: more than a thousand messages of a week, none of which arrived, read back from the list."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from billing import reconcile, stripe_client
from billing.errors import PaymentProviderUnavailable
from billing.models import EventCursor, LedgerEntry, StripeEvent, TopUp
from billing.stripe_events import TYPES
from tests.support.money import wallet_of
from tests.support.stripe import process, topup_pay

DAYS = 6
NOISE_A_DAY = 220  # sessions of strangers that expired, in the same list
PAID_A_DAY = 3
CREDIT_MICROUSD = 10_000_000


@pytest.fixture
def silence(alice, stripe):
    """The last look was a week ago; since then everything happened and nothing arrived."""
    start = timezone.now()
    EventCursor.objects.create(mode="sandbox", read_until=start)
    for day in range(DAYS):
        with time_machine.travel(start + timedelta(days=day, hours=1)):
            for _ in range(PAID_A_DAY):
                topup_pay(stripe, alice.account)
            session = stripe.world.all("checkout.session")[-1]
            with stripe.world.lock:
                for number in range(NOISE_A_DAY):
                    stranger = {"id": f"cs_stranger_{day}_{number}", "customer": None, "client_reference_id": None}
                    stripe.world.emit("checkout.session.expired", session | stranger)
    with time_machine.travel(start + timedelta(days=DAYS)):
        yield start


def expected(stripe):
    return {event["id"] for event in stripe.events if event["type"] in TYPES}


def taken():
    return set(StripeEvent.objects.values_list("event_id", flat=True))


def look():
    """One look at the list, which trouble may end anywhere; whether it came to the end."""
    try:
        reconcile.events_catch_up(now=timezone.now())
    except PaymentProviderUnavailable:
        return False
    return True


@pytest.mark.proves("L10")
def test_every_message_of_the_week_is_read_whatever_interrupts(alice, stripe, silence):
    assert len(expected(stripe)) > 1_000
    stripe.trouble.chance(0.15, "error", "drop_after_commit", "unavailable", "rate_limit", "refuse")
    looks, cursors = 1, []
    while not look():
        looks += 1
        cursors.append(EventCursor.objects.get().read_until)
        assert looks < 200
    stripe.trouble.clear()
    assert looks > 1, "trouble that interrupts nothing shows nothing"
    assert cursors == sorted(cursors)
    assert len(set(cursors)) > 1, "what was read before an interruption is kept"
    assert taken() == expected(stripe)
    while StripeEvent.objects.filter(type="checkout.session.completed", state="new").exists():
        process()
    assert TopUp.objects.filter(state="paid").count() == DAYS * PAID_A_DAY
    assert LedgerEntry.objects.count() == DAYS * PAID_A_DAY
    assert wallet_of(alice.account).balance_microusd == DAYS * PAID_A_DAY * CREDIT_MICROUSD


@pytest.mark.proves("L10")
def test_half_of_them_delivered_and_the_rest_read_is_the_same(alice, stripe, silence):
    from tests.support.stripe import receive

    receive(stripe, [event for event in stripe.events[::2] if event["type"] in TYPES])
    assert look()
    assert taken() == expected(stripe)
    assert StripeEvent.objects.count() == len(expected(stripe))


@pytest.mark.control("L10")
def test_the_newest_thousand_alone_would_lose_the_oldest_payments(alice, stripe, silence, monkeypatch):
    honest = stripe_client.events_list

    def newest(*, created_from_s, created_before_s=None, types):
        return honest(types=types, created_from_s=created_from_s)[-1_000:]

    monkeypatch.setattr(stripe_client, "events_list", newest)
    monkeypatch.setattr(reconcile, "WINDOW", timedelta(days=30))
    assert look()
    lost = {event["id"] for event in stripe.events if event["type"] == "checkout.session.completed"} - taken()
    assert lost
