"""L14: a day is a UTC day, whatever zone the server or the customer is in and whatever the clock does."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from billing import holds
from billing.errors import DailyQuotaExhausted
from billing.models import UsageDay, Wallet
from gateway.audit import audit
from gateway.caching import caches_clear
from gateway.services import generation_place
from tests.support.orders import caller_of, order

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

LIMIT = 6
MILLISECOND = timedelta(milliseconds=1)
MIDNIGHTS = [
    datetime(2026, 3, 9, tzinfo=UTC),  # summer time begins in New York on the day before
    datetime(2026, 11, 2, tzinfo=UTC),  # and ends
    datetime(2027, 1, 1, tzinfo=UTC),
    datetime(2028, 2, 29, tzinfo=UTC),
    datetime(2028, 3, 1, tzinfo=UTC),
]


@pytest.fixture(params=["UTC", "Asia/Tokyo", "America/New_York"])
def free(request, alice, settings):
    """Alice with a few free calls a day, in a zone that is the server's and her own."""
    settings.TIME_ZONE = request.param
    alice.account.time_zone = request.param
    alice.account.save()
    Wallet.objects.update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": LIMIT})
    caches_clear()
    return alice


def calls_until_refused(member, now, *, most=LIMIT * 2):
    """How many calls pass at this moment, and when the refusal says that the day resets."""
    for accepted in range(most):
        try:
            generation_place(caller=caller_of(member), order=order(received_at=now), idempotency_key=None, now=now)
        except DailyQuotaExhausted as refusal:
            return accepted, refusal.fields["resets_at"]
    return most, None


def days():
    return dict(UsageDay.objects.order_by("day").values_list("day", "calls"))


@pytest.mark.proves("L14")
@pytest.mark.parametrize("midnight", MIDNIGHTS, ids=lambda midnight: f"{midnight:%Y-%m-%d}")
def test_each_side_of_midnight_has_its_own_calls(free, midnight):
    last = midnight - MILLISECOND
    assert calls_until_refused(free, last) == (LIMIT, midnight.isoformat())
    assert calls_until_refused(free, midnight) == (LIMIT, (midnight + timedelta(days=1)).isoformat())
    assert days() == {last.date(): LIMIT, midnight.date(): LIMIT}
    assert all(finding.passed for finding in audit())


def local_midnights_give_nothing(member):
    """15:00 UTC is midnight in Tokyo, 04:00 or 05:00 in New York: the UTC day goes on over both."""
    morning = datetime(2026, 7, 1, 0, 30, tzinfo=UTC)
    assert calls_until_refused(member, morning)[0] == LIMIT
    for hour in (4, 5, 15, 23):
        assert calls_until_refused(member, morning.replace(hour=hour))[0] == 0
    assert days() == {morning.date(): LIMIT}


@pytest.mark.proves("L14")
def test_midnight_elsewhere_gives_no_second_allowance(free):
    local_midnights_give_nothing(free)


@pytest.mark.control("L14")
@pytest.mark.parametrize("free", ["Asia/Tokyo", "America/New_York"], indirect=True)
def test_a_day_by_the_local_clock_is_caught(free, monkeypatch):
    monkeypatch.setattr(holds, "day_of", lambda now: timezone.localtime(now).date())
    with pytest.raises(AssertionError):
        local_midnights_give_nothing(free)


@pytest.mark.proves("L14")
@pytest.mark.parametrize("used_before", [0, LIMIT])
def test_a_clock_that_is_set_back_over_midnight_loses_and_doubles_no_day(free, used_before):
    midnight = MIDNIGHTS[-1]
    calls_until_refused(free, midnight - timedelta(seconds=10), most=used_before)
    assert calls_until_refused(free, midnight + timedelta(seconds=2), most=2)[0] == 2
    # Five seconds back, into yesterday, and forward again.
    assert calls_until_refused(free, midnight - timedelta(seconds=3))[0] == LIMIT - used_before
    assert calls_until_refused(free, midnight + timedelta(seconds=3))[0] == LIMIT - 2
    assert set(days().values()) == {LIMIT}
    assert len(days()) == 2
