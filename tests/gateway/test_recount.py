"""While Redis cannot vouch for a call it is counted from the rows, by every process, and exactly."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.utils import timezone

from accounts.models import ApiKey
from billing.models import Wallet
from gateway import caching, limits, recount
from gateway.errors import QueueFull, RateLimited
from gateway.limits import limiter, usage_now
from gateway.models import LimitOutage, Revision
from gateway.ratelimit import Decision, LocalLimiter, Uncounted
from gateway.recount import LASTS, SETTLES_S, UNDER_WAY_S, recount_needed
from inference.models import Generation
from tests.support.orders import place

COUNTED = Decision(allowed=True, scope="a", limit=10, remaining=9, reset_at_epoch_s=0, retry_after_s=0)


class Away(LocalLimiter):
    """What a limiter answers whose Redis is away, or began to count `counting_ms` ago."""

    counting_ms = None

    def admit(self, **call):
        return Uncounted(self.counting_ms)

    def peek(self, **scope):
        return None


@pytest.fixture(autouse=True)
def patient(settings, monkeypatch):
    """Redis is away, and time passes for nobody: how long was to be slept is told instead."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    away, slept = Away(), []
    monkeypatch.setattr(limits, "get_limiter", lambda: away)
    monkeypatch.setattr(recount, "_sleep", slept.append)
    limiter.cache_clear()
    recount.reports.forget()
    yield slept
    limiter.cache_clear()


def allow(member, **overrides):
    Wallet.objects.filter(pk=member.account.pk).update(overrides=overrides)
    caching.caches_clear()


def outage(*, began_s, ends_s):
    now = timezone.now()
    row = {"began_at": now - timedelta(seconds=began_s), "ends_at": now + timedelta(seconds=ends_s)}
    LimitOutage.objects.update_or_create(id=1, defaults=row)
    caching.caches_clear()


class TestCountingRows:
    def test_the_minute_limit_is_exact_and_tells_what_remains(self, alice):
        allow(alice, calls_per_minute=3, queued_calls=50)
        assert [place(alice).decision.remaining for _ in range(3)] == [2, 1, 0]
        with pytest.raises(RateLimited) as refused:
            place(alice)
        assert refused.value.fields["limit"] == 3
        assert 60 <= refused.value.fields["retry_after_s"] <= 66
        assert Generation.objects.count() == 3

    def test_a_call_leaves_the_count_when_it_is_older_than_the_window(self, alice):
        allow(alice, calls_per_minute=1)
        place(alice)
        old = Generation.objects.get()
        Generation.objects.filter(pk=old.pk).update(id=old.pk - (66_000 << 13), created_at=old.created_at)
        place(alice)
        with pytest.raises(RateLimited):
            place(alice)

    def test_queued_calls_are_limited(self, alice):
        allow(alice, queued_calls=2)
        place(alice), place(alice)
        with pytest.raises(QueueFull) as refused:
            place(alice)
        assert refused.value.fields["limit"] == 2
        Generation.objects.update(state="failed")
        assert place(alice).created

    @pytest.mark.parametrize(("own", "refusal"), [("calls_per_minute", RateLimited), ("queued_calls", QueueFull)])
    def test_a_keys_own_limits_hold_too(self, alice, own, refusal):
        ApiKey.objects.filter(pk=alice.key_id).update(**{own: 1})
        caching.caches_clear()
        place(alice)
        with pytest.raises(refusal) as refused:
            place(alice)
        assert refused.value.fields["limit"] == 1

    def test_another_accounts_calls_do_not_count(self, alice, charlie):
        allow(alice, calls_per_minute=1)
        place(charlie), place(alice)
        with pytest.raises(RateLimited):
            place(alice)

    def test_a_limit_of_none_at_all_refuses(self, alice):
        allow(alice, calls_per_minute=0)
        with pytest.raises(RateLimited):
            place(alice)

    def test_what_an_idempotency_key_repeats_is_not_counted_again(self, alice):
        allow(alice, calls_per_minute=1)
        first = place(alice, idempotency_key="once")
        again = place(alice, idempotency_key="once")
        assert (again.created, again.generation.pk) == (False, first.generation.pk)

    def test_pages_tell_the_same_numbers(self, alice):
        place(alice)
        usage = usage_now(account_id=alice.account.pk, per_minute=10, queued=5, now=timezone.now())
        assert (usage.used, usage.remaining, usage.queued) == (1, 9, 1)


class TestOutages:
    def test_a_process_that_lost_redis_reports_it_and_waits_until_all_know(self, alice, patient):
        moved = Revision.objects.get(pk=1).number
        assert recount_needed(Uncounted(None))
        row = LimitOutage.objects.get()
        assert row.ends_at - row.began_at == LASTS
        assert Revision.objects.get(pk=1).number == moved + 1
        assert SETTLES_S - 1 < patient[0] <= SETTLES_S

    def test_others_count_beside_redis_once_it_has_settled_and_until_it_is_over(self, alice):
        assert not recount_needed(COUNTED)
        outage(began_s=SETTLES_S - 1, ends_s=50)
        assert not recount_needed(COUNTED)
        outage(began_s=SETTLES_S, ends_s=50)
        assert recount_needed(COUNTED)
        outage(began_s=100, ends_s=0)
        assert not recount_needed(COUNTED)

    def test_an_outage_is_lengthened_without_a_second_wait(self, alice, patient):
        outage(began_s=30, ends_s=50)
        moved = Revision.objects.get(pk=1).number
        recount_needed(Uncounted(None))
        row = LimitOutage.objects.get()
        assert row.ends_at - row.began_at > LASTS
        assert Revision.objects.get(pk=1).number == moved
        assert patient[0] < 0

    def test_one_that_is_over_begins_anew(self, alice, patient):
        outage(began_s=300, ends_s=-1)
        recount_needed(Uncounted(None))
        assert SETTLES_S - 1 < patient[0] <= SETTLES_S

    def test_many_calls_report_it_once(self, alice, django_assert_num_queries):
        recount_needed(Uncounted(None))
        with django_assert_num_queries(0):
            for _ in range(20):
                recount_needed(Uncounted(None))

    def test_a_server_that_began_to_count_is_seen_by_all_who_ask_it(self, alice, patient):
        assert recount_needed(Uncounted(500))
        assert recount_needed(Uncounted(30_000))
        assert not LimitOutage.objects.exists()
        assert patient[0] == UNDER_WAY_S - 0.5
        assert patient[1] < 0

    def test_without_redis_there_are_none(self, alice, settings, django_assert_num_queries):
        settings.REDIS_URL = ""
        with django_assert_num_queries(0):
            assert not recount_needed(COUNTED)


def at_once(member, calls):
    """So many calls from threads of their own; how many were let in."""
    start = threading.Barrier(calls)

    def work(_):
        try:
            start.wait(30)
            place(member)
        except RateLimited:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(calls) as threads:
        return sum(threads.map(work, range(calls)))


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    @pytest.mark.proves("L5")
    def test_exactly_the_limit_is_let_in(self, alice):
        allow(alice, calls_per_minute=5, queued_calls=50)
        assert at_once(alice, 12) == 5

    @pytest.mark.control("L5")
    def test_without_the_accounts_lock_more_are(self, alice, monkeypatch):
        monkeypatch.setattr(recount, "_lock_limits", lambda account_id: None)
        monkeypatch.setattr(recount, "_verdicts", _late(recount._verdicts))
        allow(alice, calls_per_minute=5, queued_calls=50)
        assert at_once(alice, 12) > 5

    def test_who_waits_for_the_report_of_another_lends_its_connection(self, alice):
        """The other may need one, and a process has few: all would stand still until the pool gave up."""
        waiting = []

        def call():
            own = connections[DEFAULT_DB_ALIAS]
            own.ensure_connection()
            waiting.append(own)
            recount_needed(Uncounted(None))
            own.close()

        with recount.reports._lock:
            caller = threading.Thread(target=call)
            caller.start()
            deadline = time.monotonic() + 20
            while not (waiting and waiting[0].connection is None):
                assert time.monotonic() < deadline, "it keeps its connection"
                time.sleep(0.01)
        caller.join()


def _late(count):
    """The count is right, and old when it is used."""

    def verdicts(*args):
        found = list(count(*args))
        time.sleep(0.3)
        return found

    return verdicts
