"""What Redis adds: one count for all processes, which says when it cannot vouch for a call."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from gateway.ratelimit import Uncounted, shared
from tests.gateway.ratelimit.conftest import shared_limiter
from tests.gateway.ratelimit.support import START_MS, Clock, hammer

pytestmark = pytest.mark.redis


def admit(limiter, scope, token, *, per_minute=10, queued=100, extra=()):
    return limiter.admit(
        scope=scope, token=token, now_ms=START_MS, per_minute=per_minute, queued=queued, lease_s=60, extra=extra
    )


def allowed(limiter, scope, calls, *, name, **limits):
    return sum(admit(limiter, scope, f"{name}-{number}", **limits).allowed for number in range(calls))


def press(url, scope, *, processes, calls, per_minute, queued):
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(processes), spawn.SimpleQueue()
    limits = {"calls": calls, "per_minute": per_minute, "queued": queued}
    workers = [
        spawn.Process(target=hammer, args=(url, scope, barrier, results), kwargs={**limits, "name": number})
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    decisions = [one for _ in workers for one in results.get()]
    for worker in workers:
        worker.join(30)
    return Counter(decisions)


class TestManyProcesses:
    def test_together_they_admit_exactly_the_minute_limit(self, redis_url, scope):
        outcome = press(redis_url, scope, processes=4, calls=60, per_minute=50, queued=1_000)
        assert outcome == {(True, None): 50, (False, "minute"): 190}

    def test_together_they_admit_exactly_the_queued_limit(self, redis_url, scope):
        outcome = press(redis_url, scope, processes=4, calls=60, per_minute=1_000, queued=7)
        assert outcome == {(True, None): 7, (False, "queued"): 233}
        with redis.Redis.from_url(redis_url) as client:
            assert client.zcard(f"limit:{scope}:minute") == client.zcard(f"limit:{scope}:key:minute") == 7

    def test_the_real_clock_frees_a_place_when_its_lease_ends(self, redis_url, scope):
        limiter = shared_limiter(redis_url)
        limits = {"scope": scope, "now_ms": START_MS, "per_minute": 10, "queued": 1, "lease_s": 1}
        assert limiter.admit(token="crashed", **limits).allowed
        assert not limiter.admit(token="too soon", **limits).allowed
        time.sleep(1.05)
        assert limiter.admit(token="freed", **limits).allowed

    def test_redis_keeps_nothing_of_an_idle_account_for_ever(self, redis_url, scope):
        limiter = shared_limiter(redis_url)
        admit(limiter, scope, "one")
        limiter.renew([scope], "one", lease_s=3600)
        with redis.Redis.from_url(redis_url) as client:
            lives = {key.decode().rpartition(":")[2]: client.ttl(key) for key in client.scan_iter()}
        assert lives.pop("counting-since") == -1
        assert 60 < lives["minute"] <= 121
        assert 3600 < lives["queued"] <= 7200


class TestClocks:
    def test_a_clock_set_back_by_hours_never_admits_more_and_heals_within_a_window(self, redis_url, scope):
        clock = Clock()
        limiter = shared_limiter(redis_url, clock)
        assert allowed(limiter, scope, 12, name="before") == 10
        clock.now -= 3 * 3600 * 1000
        refused = admit(limiter, scope, "after")
        assert not refused.allowed
        assert refused.retry_after_s <= 61
        clock.now += 60_001
        assert allowed(limiter, scope, 12, name="healed") == 10

    def test_the_callers_clock_dates_the_answer_and_decides_nothing(self, redis_url, scope):
        limiter = shared_limiter(redis_url)
        for number in range(10):
            admit(limiter, scope, f"{number}")
        far = limiter.admit(scope=scope, token="far", now_ms=START_MS + 10**9, per_minute=10, queued=100, lease_s=60)
        assert not far.allowed
        assert 0 < far.reset_at_epoch_s - (START_MS + 10**9) // 1000 <= 61


class TestRedisForgets:
    def test_scripts_lost_by_the_server_are_told_again(self, redis_url, scope):
        limiter = shared_limiter(redis_url)
        admit(limiter, scope, "one")
        with redis.Redis.from_url(redis_url) as client:
            client.script_flush()
        assert admit(limiter, scope, "two").remaining == 8

    def test_an_emptied_server_vouches_for_nothing_for_a_minute(self, redis_url, scope, clock):
        limiter = shared_limiter(redis_url, clock)
        assert allowed(limiter, scope, 6, name="before") == 6
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        assert admit(limiter, scope, "first") == Uncounted(0)
        clock.now += 60_000
        assert admit(limiter, scope, "second") == Uncounted(60_000)
        clock.now += 1
        assert admit(limiter, scope, "third").remaining == 8  # both of the minute were written down

    def test_what_it_has_heard_of_since_is_refused_by_it(self, redis_url, scope):
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        limiter = shared_limiter(redis_url)
        found = [admit(limiter, scope, str(number), per_minute=2) for number in range(3)]
        assert [isinstance(one, Uncounted) for one in found] == [True, True, False]
        assert found[2].refused_by == "minute"

    def test_a_restarted_server_vouches_for_nothing_either(self, redis_server, redis_url, scope):
        limiter = shared_limiter(redis_url)
        assert allowed(limiter, scope, 6, name="before") == 6
        restart(redis_server)
        assert isinstance(admit(limiter, scope, "after"), Uncounted)

    def test_a_server_that_took_its_place_may_lack_the_last_calls(self, redis_server, redis_url, scope):
        limiter = shared_limiter(redis_url)
        admit(limiter, scope, "before")
        restart(redis_server)
        redis_server.forget_all()  # a replica: it has counted as long, but not all of it
        assert admit(limiter, scope, "after") == Uncounted(None)

    def test_a_process_that_never_met_the_other_one_believes_it(self, redis_server, redis_url, scope):
        restart(redis_server)
        redis_server.forget_all()
        assert admit(shared_limiter(redis_url), scope, "first").remaining == 9


class TestRedisIsAway:
    def test_nothing_is_decided(self, redis_server, redis_url, scope):
        limiter = shared_limiter(redis_url)
        redis_server.kill()
        assert admit(limiter, scope, "one") == Uncounted(None)
        limiter.renew([scope], "one", lease_s=100)
        assert limiter.peek(scope=scope, now_ms=START_MS, per_minute=10, queued=2) is None

    def test_places_freed_meanwhile_are_free_when_it_is_back(self, redis_url, redis_server, scope):
        limiter = shared_limiter(redis_url)
        assert allowed(limiter, scope, 2, name="busy", queued=2) == 2
        hang(redis_server)
        try:
            limiter.finished([scope], "busy-0")
            limiter.give_back([scope], "busy-1")
        finally:
            wake(redis_server)
        is_back(limiter)
        usage = limiter.peek(scope=scope, now_ms=START_MS, per_minute=10, queued=2)
        assert (usage.used, usage.queued) == (1, 0)

    def test_a_call_given_back_after_a_lost_answer_keeps_nothing_there(self, redis_url, redis_server, scope):
        limiter = shared_limiter(redis_url)
        assert allowed(limiter, scope, 1, name="first", per_minute=3) == 1
        hang(redis_server)
        try:
            assert admit(limiter, scope, "lost", per_minute=3) == Uncounted(None)
            limiter.give_back([scope], "lost")
        finally:
            wake(redis_server)
        is_back(limiter)
        assert limiter.peek(scope=scope, now_ms=START_MS, per_minute=3, queued=100).used == 1

    def test_a_hanging_server_does_not_cost_its_timeout_on_every_call(self, redis_url, redis_server, scope):
        limiter = shared_limiter(redis_url)
        admit(limiter, scope, "warm")
        hang(redis_server)
        try:
            started_s = time.monotonic()
            for number in range(200):
                admit(limiter, f"{scope}-{number}", "call")
            spent_s = time.monotonic() - started_s
        finally:
            wake(redis_server)
        assert shared.TIMEOUT_S * 0.9 < spent_s < 2 * shared.TIMEOUT_S

    def test_the_log_tells_of_it_once_each_way(self, redis_url, redis_server, scope, caplog):
        limiter = shared_limiter(redis_url)
        redis_server.kill()
        for number in range(5):
            admit(limiter, scope, f"away-{number}")
        redis_server.start()
        is_back(limiter)
        told = [record.getMessage() for record in caplog.records if record.name == shared.__name__]
        assert [one.split(":")[0].split("(")[0].strip() for one in told] == [
            "Redis is away",
            "Redis is back and counts calls again",
        ]

    def test_more_threads_than_connections_wait_their_turn(self, redis_url, scope, monkeypatch):
        monkeypatch.setattr(shared, "CONNECTIONS_MAX", 2)
        limiter = shared_limiter(redis_url)
        with ThreadPoolExecutor(24) as threads:
            answers = list(threads.map(lambda number: admit(limiter, scope, str(number)), range(96)))
        assert sum(one.allowed for one in answers) == 10
        assert not limiter.breaker.is_open


class TestLosingRedisUnderLoad:
    def test_a_killed_and_restarted_server_vouches_for_no_more_than_the_limit(self, redis_server, redis_url, scope):
        limiters = [shared_limiter(redis_url) for _ in range(2)]

        def work(number):
            found = []
            for call in range(60):
                found.append(
                    admit(limiters[(number + call) % 2], scope, f"{number}-{call}", per_minute=50, queued=1_000)
                )
                time.sleep(0.01)
            return Counter("uncounted" if isinstance(one, Uncounted) else one.allowed for one in found)

        with ThreadPoolExecutor(4) as threads:
            running = [threads.submit(work, number) for number in range(4)]
            time.sleep(0.05)
            redis_server.kill()
            time.sleep(0.1)
            redis_server.start()
            outcome = sum((one.result() for one in running), Counter())
        assert outcome[True] <= 50
        assert outcome["uncounted"] > 0


def restart(server):
    server.kill()
    server.start()


def hang(server):
    os.kill(server.process.pid, signal.SIGSTOP)


def wake(server):
    os.kill(server.process.pid, signal.SIGCONT)


def is_back(limiter):
    """Ask until the breaker has let a call through."""
    deadline_s = time.monotonic() + 10
    while limiter.breaker.is_open and time.monotonic() < deadline_s:
        limiter.peek(scope="probe", now_ms=START_MS, per_minute=1, queued=1)
        time.sleep(0.02)
    assert not limiter.breaker.is_open


class TestRefusalsThatAreRemembered:
    """A caller beyond its limit who keeps calling is refused without a question to Redis."""

    @staticmethod
    def recall(limiter, scope, *, per_minute=2, extra=()):
        return limiter.recall(scope=scope, now_ms=START_MS, per_minute=per_minute, extra=extra)

    @pytest.fixture
    def limiter(self, redis_url, clock):
        return shared_limiter(redis_url, clock)

    def test_the_same_numbers_come_again(self, limiter, scope, clock):
        assert self.recall(limiter, scope) is None
        assert allowed(limiter, scope, 2, name="in", per_minute=2) == 2
        assert self.recall(limiter, scope) is None  # full, but nobody was refused yet
        refused = admit(limiter, scope, "out", per_minute=2)
        assert self.recall(limiter, scope) == refused
        clock.now += 400
        assert self.recall(limiter, scope).retry_after_s == 60

    def test_no_longer_than_a_second_nor_than_the_minute_is_full(self, limiter, scope, clock):
        allowed(limiter, scope, 3, name="in", per_minute=2)
        clock.now += 1_000
        assert self.recall(limiter, scope) is None
        clock.now += 58_700
        assert not admit(limiter, scope, "late", per_minute=2).allowed
        assert self.recall(limiter, scope) is not None
        clock.now += 301
        assert self.recall(limiter, scope) is None
        assert admit(limiter, scope, "next", per_minute=2).allowed

    def test_not_after_a_call_was_given_back_here(self, limiter, scope):
        allowed(limiter, scope, 3, name="in", per_minute=2)
        limiter.give_back([scope], "in-0")
        assert self.recall(limiter, scope) is None

    def test_not_when_the_limit_is_another_one_now(self, limiter, scope):
        allowed(limiter, scope, 3, name="in", per_minute=2)
        assert self.recall(limiter, scope, per_minute=5) is None
        assert self.recall(limiter, scope, per_minute=None) is None

    def test_a_full_queue_is_asked_for_each_time(self, limiter, scope):
        assert allowed(limiter, scope, 2, name="in", per_minute=9, queued=1) == 1
        assert self.recall(limiter, scope, per_minute=9) is None

    def test_the_limit_of_a_key_is_remembered_for_that_key_alone(self, limiter, scope):
        key = [(f"{scope}:key", 1, None)]
        allowed(limiter, scope, 2, name="in", extra=key)
        assert self.recall(limiter, scope, per_minute=10) is None
        assert self.recall(limiter, scope, per_minute=10, extra=key).limit == 1
        assert self.recall(limiter, scope, per_minute=10, extra=[(f"{scope}:other", 1, None)]) is None
