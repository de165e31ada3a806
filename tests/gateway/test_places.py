"""Places in the queue whose calls ended, or never began, without the limiter's hearing of it are found and freed."""

from datetime import timedelta

import pytest
from django.utils import timezone

from gateway import limits, ratelimit
from gateway.ids import generation_id_new, generation_made_at
from gateway.limits import limit_scopes, limiter, places_reconcile
from gateway.ratelimit import SharedLimiter
from gateway.ratelimit.shared import connect
from inference.models import Generation
from tests.support.orders import place

pytestmark = pytest.mark.redis

SOON, LATER = timedelta(seconds=5), timedelta(seconds=20)


@pytest.fixture
def shared(redis_url, settings, monkeypatch):
    monkeypatch.setattr(limits, "get_limiter", lambda: SharedLimiter(connect(redis_url)))
    limiter.cache_clear()
    yield
    limiter.cache_clear()


def queued(member):
    scope = limit_scopes(account_id=member.account.pk, key_id=member.key_id)[0]
    now_ms = int(timezone.now().timestamp() * 1000)
    return limiter().peek(scope=scope, now_ms=now_ms, per_minute=10, queued=2).queued


def test_a_settled_calls_place_is_freed(alice, shared):
    now = timezone.now()
    place(alice)
    Generation.objects.update(state="failed")
    assert places_reconcile(now=now + LATER) == 1
    assert queued(alice) == 0


def test_a_call_that_never_got_a_row_gives_its_place_back(alice, shared):
    now = timezone.now()
    place(alice)
    Generation.objects.all().delete()
    assert places_reconcile(now=now + LATER) == 1
    assert queued(alice) == 0


def test_waiting_calls_and_calls_being_admitted_keep_theirs(alice, shared):
    now = timezone.now()
    place(alice)
    assert places_reconcile(now=now + LATER) == 0
    Generation.objects.all().delete()
    assert places_reconcile(now=now + SOON) == 0
    assert queued(alice) == 1


def test_one_process_alone_has_nothing_to_reconcile(alice, monkeypatch):
    monkeypatch.setattr(limits, "get_limiter", ratelimit.LocalLimiter)
    place(alice)
    assert places_reconcile(now=timezone.now() + LATER) == 0


def test_an_id_tells_when_its_call_was_made():
    now = timezone.now()
    assert abs(generation_made_at(generation_id_new(now)) - now) < timedelta(milliseconds=1)
