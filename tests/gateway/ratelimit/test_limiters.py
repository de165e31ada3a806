"""What holds for every limiter, whether it counts in this process or in Redis."""

from __future__ import annotations

import itertools
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.ratelimit.support import START_MS, Clock, FixedWindow, Plain

LEASE_S = 600


def admit(limiter, scope, token, *, clock, per_minute=3, queued=100, lease_s=LEASE_S, extra=()):
    return limiter.admit(
        scope=scope,
        token=token,
        now_ms=clock(),
        per_minute=per_minute,
        queued=queued,
        lease_s=lease_s,
        extra=extra,
    )


def fill(limiter, scope, calls, *, clock, **limits):
    return [admit(limiter, scope, f"fill-{number}", clock=clock, **limits) for number in range(calls)]


class TestTheMinute:
    def test_it_admits_up_to_the_limit_and_tells_what_remains(self, limiter, scope, clock):
        told = [(one.allowed, one.limit, one.remaining) for one in fill(limiter, scope, 4, clock=clock)]
        assert told == [(True, 3, 2), (True, 3, 1), (True, 3, 0), (False, 3, 0)]

    def test_a_refusal_says_when_the_next_call_will_pass_and_then_it_does(self, limiter, scope, clock):
        fill(limiter, scope, 3, clock=clock)
        clock.now += 20_000
        refused = admit(limiter, scope, "late", clock=clock)
        assert (refused.refused_by, refused.scope) == ("minute", scope)
        assert refused.retry_after_s == 41  # 40.001 s, rounded up
        assert refused.reset_at_epoch_s * 1000 >= START_MS + 60_001
        clock.now += refused.retry_after_s * 1000
        assert admit(limiter, scope, "later", clock=clock).allowed

    def test_a_call_exactly_sixty_seconds_old_still_counts(self, limiter, scope, clock):
        fill(limiter, scope, 3, clock=clock)
        clock.now += 60_000
        assert not admit(limiter, scope, "edge", clock=clock).allowed
        clock.now += 1
        assert admit(limiter, scope, "after", clock=clock).allowed

    def test_refused_calls_consume_nothing(self, limiter, scope, clock):
        fill(limiter, scope, 3, clock=clock)
        clock.now += 30_000
        for number in range(50):
            assert not admit(limiter, scope, f"refused-{number}", clock=clock).allowed
        clock.now += 30_001
        assert [one.allowed for one in fill(limiter, scope, 4, clock=clock)] == [True, True, True, False]

    def test_a_raised_limit_holds_at_once(self, limiter, scope, clock):
        fill(limiter, scope, 3, clock=clock)
        assert admit(limiter, scope, "more", clock=clock, per_minute=4).remaining == 0

    def test_after_a_lowered_limit_the_wait_is_until_enough_calls_have_left(self, limiter, scope, clock):
        for number in range(3):
            admit(limiter, scope, f"spread-{number}", clock=clock)
            clock.now += 10_000
        refused = admit(limiter, scope, "now", clock=clock, per_minute=1)
        assert refused.retry_after_s == 51  # the last of the three entered 10 s ago

    def test_a_limit_of_zero_refuses_and_no_limit_admits(self, limiter, scope, clock):
        assert admit(limiter, scope, "never", clock=clock, per_minute=0).refused_by == "minute"
        free = admit(limiter, scope, "always", clock=clock, per_minute=None, queued=None)
        assert (free.allowed, free.limit, free.remaining, free.retry_after_s) == (True, None, None, 0)

    def test_the_same_token_twice_counts_once(self, limiter, scope, clock):
        first = admit(limiter, scope, "twin", clock=clock)
        again = admit(limiter, scope, "twin", clock=clock)
        assert (first.remaining, again.remaining, again.allowed) == (2, 2, True)

    def test_a_repeated_token_is_admitted_although_the_limit_is_full_by_now(self, limiter, scope, clock):
        fill(limiter, scope, 3, clock=clock, queued=3)
        assert admit(limiter, scope, "fill-0", clock=clock, queued=3).allowed


class TestQueuedCalls:
    def test_no_more_than_the_limit_wait_at_once(self, limiter, scope, clock):
        answers = fill(limiter, scope, 3, clock=clock, per_minute=50, queued=2)
        assert [one.allowed for one in answers] == [True, True, False]
        assert (answers[2].refused_by, answers[2].limit, answers[2].remaining) == ("queued", 2, 0)
        assert answers[2].retry_after_s >= 1

    def test_a_finished_call_frees_its_place_and_stays_in_the_minute(self, limiter, scope, clock):
        fill(limiter, scope, 2, clock=clock, per_minute=50, queued=2)
        limiter.finished([scope], "fill-0")
        limiter.finished([scope], "fill-0")
        answers = [admit(limiter, scope, f"next-{n}", clock=clock, per_minute=50, queued=2) for n in range(2)]
        assert [one.allowed for one in answers] == [True, False]
        assert limiter.peek(scope=scope, now_ms=clock(), per_minute=50, queued=2).used == 3

    def test_a_lease_that_runs_out_frees_the_place_of_a_crashed_worker(self, limiter, scope, clock):
        fill(limiter, scope, 2, clock=clock, per_minute=50, queued=2, lease_s=5)
        clock.now += 4_999
        assert not admit(limiter, scope, "early", clock=clock, per_minute=50, queued=2).allowed
        clock.now += 1
        assert admit(limiter, scope, "free", clock=clock, per_minute=50, queued=2).allowed

    def test_a_renewed_lease_keeps_its_place(self, limiter, scope, clock):
        fill(limiter, scope, 2, clock=clock, per_minute=50, queued=2, lease_s=5)
        clock.now += 4_000
        limiter.renew([scope], "fill-0", lease_s=5)
        limiter.renew([scope], "fill-1", lease_s=0)  # never shortens
        limiter.renew([scope], "unknown", lease_s=50)
        clock.now += 1_000
        assert limiter.peek(scope=scope, now_ms=clock(), per_minute=50, queued=2).queued == 1
        clock.now += 4_000
        assert limiter.peek(scope=scope, now_ms=clock(), per_minute=50, queued=2).queued == 0

    def test_a_long_lease_outlives_a_short_one_in_the_same_queue(self, limiter, scope, clock):
        admit(limiter, scope, "long", clock=clock, queued=2, lease_s=3600)
        admit(limiter, scope, "short", clock=clock, queued=2, lease_s=1)
        clock.now += 3_500_000
        assert limiter.peek(scope=scope, now_ms=clock(), per_minute=3, queued=2).queued == 1


class TestAllTogether:
    def test_a_refusal_by_one_limit_consumes_none_of_the_others(self, limiter, scope, clock):
        key = f"{scope}:key"
        assert admit(limiter, scope, "one", clock=clock, extra=[(key, 1, None)]).allowed
        refused = admit(limiter, scope, "two", clock=clock, extra=[(key, 1, None)])
        assert (refused.refused_by, refused.scope) == ("minute", key)
        account = limiter.peek(scope=scope, now_ms=clock(), per_minute=3, queued=100)
        assert (account.used, account.queued, account.remaining) == (1, 1, 2)

    def test_a_full_queue_of_the_key_leaves_the_account_untouched(self, limiter, scope, clock):
        key = f"{scope}:key"
        admit(limiter, scope, "one", clock=clock, extra=[(key, None, 1)])
        assert admit(limiter, scope, "two", clock=clock, extra=[(key, None, 1)]).refused_by == "queued"
        assert limiter.peek(scope=scope, now_ms=clock(), per_minute=3, queued=100).used == 1

    def test_the_numbers_told_are_the_tightest(self, limiter, scope, clock):
        key = f"{scope}:key"
        decision = admit(limiter, scope, "one", clock=clock, per_minute=50, extra=[(key, 9, None)])
        assert (decision.scope, decision.limit, decision.remaining) == (key, 9, 8)

    def test_of_several_refusals_the_longest_wait_is_told(self, limiter, scope, clock):
        fill(limiter, scope, 2, clock=clock, per_minute=2, queued=2)
        assert admit(limiter, scope, "three", clock=clock, per_minute=2, queued=2).retry_after_s == 61

    def test_a_call_given_back_never_happened(self, limiter, scope, clock):
        key = f"{scope}:key"
        fill(limiter, scope, 3, clock=clock, queued=3, extra=[(key, 3, 3)])
        limiter.give_back([scope, key], "fill-1")
        for one in (scope, key):
            usage = limiter.peek(scope=one, now_ms=clock(), per_minute=3, queued=3)
            assert (usage.used, usage.queued) == (2, 2)
        assert admit(limiter, scope, "fill-1", clock=clock, queued=3, extra=[(key, 3, 3)]).remaining == 0

    def test_a_look_consumes_nothing(self, limiter, scope, clock):
        before = limiter.peek(scope=scope, now_ms=clock(), per_minute=3, queued=2)
        assert (before.used, before.remaining, before.queued) == (0, 3, 0)
        assert [one.allowed for one in fill(limiter, scope, 3, clock=clock)] == [True] * 3

    def test_scopes_do_not_know_each_other(self, limiter, scope, clock):
        fill(limiter, scope, 4, clock=clock)
        assert admit(limiter, f"{scope}-other", "one", clock=clock).remaining == 2


# --- properties ------------------------------------------------------------------------------------------------

MINUTE_LIMITS = {"account": 5, "key": 3}
QUEUED_LIMITS = {"account": 4, "key": 3}
steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from([("account",), ("account", "key")])),
        st.tuples(st.just("pass"), st.sampled_from([1, 999, 14_000, 30_000, 59_999, 60_000, 60_001])),
        st.tuples(st.sampled_from(["finish", "give back", "again"]), st.integers(0, 30)),
    ),
    max_size=60,
)
PROPERTY = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def limits_of(names, prefix):
    return [(f"{prefix}:{name}", MINUTE_LIMITS[name], QUEUED_LIMITS[name]) for name in names]


def ask(limiter, limits, token, clock):
    (scope, per_minute, queued), *extra = limits
    return admit(limiter, scope, token, clock=clock, per_minute=per_minute, queued=queued, lease_s=45, extra=extra)


def does_what_the_plain_rules_say(limiter, clock, script):
    plain, prefix, made = Plain(), uuid.uuid4().hex, []
    for number, (what, value) in enumerate(script):
        if what == "pass":
            clock.now += value
        elif what == "call":
            made.append((limits_of(value, prefix), f"call-{number}"))
            is_decided_alike(limiter, plain, *made[-1], clock)
        elif made:
            limits, token = made[value % len(made)]
            scopes = [scope for scope, _, _ in limits]
            if what == "again":
                is_decided_alike(limiter, plain, limits, token, clock)
            else:
                (limiter.finished if what == "finish" else limiter.give_back)(scopes, token)
                plain.leave(scopes, token, forget=what == "give back")
        for name in MINUTE_LIMITS:
            scope = f"{prefix}:{name}"
            usage = limiter.peek(scope=scope, now_ms=clock(), per_minute=5, queued=5)
            assert usage.used == len(plain.counted(scope, clock()))
            assert usage.queued == len(plain.waiting(scope, clock()))


def is_decided_alike(limiter, plain, limits, token, clock):
    expected = plain.admits(limits, token, clock())
    decision = ask(limiter, limits, token, clock)
    assert decision.allowed == expected
    if expected:
        plain.enter(limits, token, clock(), 45_000)
        left = [per_minute - len(plain.counted(scope, clock())) for scope, per_minute, _ in limits]
        assert decision.remaining == min(left)


def never_leaks(limiter, clock, gaps, *, per_minute):
    """Whatever the rhythm of the calls, no closed window of 60 s holds more than the limit."""
    scope, admitted = uuid.uuid4().hex, []
    for number, gap_ms in enumerate(gaps):
        clock.now += gap_ms
        if admit(limiter, scope, str(number), clock=clock, per_minute=per_minute, queued=1_000).allowed:
            admitted.append(clock())
    for first, last in itertools.combinations(range(len(admitted)), 2):
        if admitted[last] - admitted[first] <= 60_000:
            assert last - first + 1 <= per_minute


rhythms = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 70_000)), max_size=80)


class TestProperties:
    @PROPERTY
    @given(script=steps)
    def test_any_sequence_of_events_is_decided_as_the_plain_rules_say(self, limiter, clock, script):
        does_what_the_plain_rules_say(limiter, clock, script)

    @pytest.mark.proves("L5")
    @PROPERTY
    @given(gaps=rhythms, per_minute=st.integers(1, 12))
    def test_no_window_of_sixty_seconds_holds_more_than_the_limit(self, limiter, clock, gaps, per_minute):
        never_leaks(limiter, clock, gaps, per_minute=per_minute)

    @pytest.mark.control("L5")
    def test_the_same_property_catches_a_fixed_window(self):
        """Negative control: the proof above is able to fail."""

        @PROPERTY
        @given(gaps=rhythms, per_minute=st.integers(1, 12))
        def prove(gaps, per_minute):
            clock = Clock()
            never_leaks(FixedWindow(clock), clock, gaps, per_minute=per_minute)

        with pytest.raises(AssertionError):
            prove()
