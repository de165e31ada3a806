"""What the count in one process owes to threads, to other processes and to memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import ratelimit
from gateway.ratelimit import Uncounted
from gateway.ratelimit.local import SWEEP_EVERY_CALLS, LocalLimiter
from gateway.ratelimit.shared import SharedLimiter
from tests.gateway.ratelimit.support import START_MS, Clock


def admit(limiter, scope, token, *, per_minute=50, queued=100, lease_s=60):
    return limiter.admit(
        scope=scope, token=token, now_ms=START_MS, per_minute=per_minute, queued=queued, lease_s=lease_s
    )


def test_many_threads_admit_exactly_the_limit():
    limiter = LocalLimiter()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: admit(limiter, "a", str(number)), range(400)))
    assert sum(one.allowed for one in answers) == 50


def test_each_of_several_processes_takes_its_part_rounded_down():
    limiters = [LocalLimiter(processes=3) for _ in range(3)]
    shares = [sum(admit(one, "a", str(number)).allowed for number in range(50)) for one in limiters]
    assert shares == [16, 16, 16]


def test_idle_scopes_are_forgotten():
    clock = Clock()
    limiter = LocalLimiter(clock_ms=clock)
    for number in range(SWEEP_EVERY_CALLS - 1):
        admit(limiter, f"account:{number}", "one", lease_s=1)
    clock.now += 60_001
    admit(limiter, "account:last", "one")
    assert list(limiter._scopes) == ["account:last"]


class TestCallsThatEndedInAnotherProcess:
    def test_a_full_queue_asks_which_ended_and_goes_on(self):
        asked = []

        def ended(scope, tokens):
            asked.append((scope, list(tokens)))
            return tokens[:1]

        limiter = LocalLimiter(ended_elsewhere=ended)
        answers = [admit(limiter, "a", str(number), queued=2).allowed for number in range(3)]
        assert answers == [True, True, True]
        assert asked == [("a", ["0", "1"])]

    def test_a_look_at_a_full_queue_asks_too(self):
        """Calls that bring pictures are refused on a look alone, before anything is fetched for them."""
        limiter = LocalLimiter(ended_elsewhere=lambda scope, tokens: tokens)
        for number in range(2):
            admit(limiter, "a", str(number), queued=2)
        assert limiter.peek(scope="a", now_ms=0, per_minute=None, queued=2).queued == 0

    def test_it_asks_at_most_once_a_second(self):
        asked, clock = [], Clock()
        limiter = LocalLimiter(clock_ms=clock, ended_elsewhere=lambda scope, tokens: asked.append(scope) or ())
        for number in range(20):
            admit(limiter, "a", str(number), queued=2)
        clock.now += 1_000
        admit(limiter, "a", "later", queued=2)
        assert asked == ["a", "a"]

    def test_while_there_is_room_nobody_is_asked(self):
        limiter = LocalLimiter(ended_elsewhere=lambda scope, tokens: pytest.fail("asked"))
        assert admit(limiter, "a", "one").allowed


@pytest.fixture
def fresh():
    ratelimit.get_limiter.cache_clear()
    ratelimit._guard.cache_clear()
    yield
    ratelimit.get_limiter.cache_clear()
    ratelimit._guard.cache_clear()


class TestTheProcessLimiter:
    def test_without_redis_it_counts_here(self, fresh, settings):
        settings.REDIS_URL, settings.WEB_PROCESSES = "", 1
        assert isinstance(ratelimit.get_limiter(), LocalLimiter)
        assert ratelimit.get_limiter() is ratelimit.get_limiter()

    def test_with_redis_it_is_shared(self, fresh, settings):
        settings.REDIS_URL, settings.WEB_PROCESSES = "redis://127.0.0.1:1/0", 4
        limiter = ratelimit.get_limiter()
        assert isinstance(limiter, SharedLimiter)
        assert admit(limiter, "a", "one") == Uncounted(None)  # nobody listens there

    def test_failed_keys_are_counted_by_each_process_while_redis_is_away(self, fresh, settings):
        settings.REDIS_URL, settings.WEB_PROCESSES = "redis://127.0.0.1:1/0", 4
        for _ in range(5):
            assert ratelimit.address_check("203.0.113.9") == 0
            ratelimit.address_fail("203.0.113.9", now_ms=START_MS)
        assert 0 < ratelimit.address_check("203.0.113.9") <= 61

    def test_failed_keys_are_counted_by_address(self, fresh, settings):
        settings.REDIS_URL, settings.WEB_PROCESSES = "", 1
        for _ in range(20):
            assert ratelimit.address_check("203.0.113.9") == 0
            ratelimit.address_fail("203.0.113.9", now_ms=START_MS)
        assert 0 < ratelimit.address_check("203.0.113.9") <= 61
        assert ratelimit.address_check("203.0.113.10") == 0
