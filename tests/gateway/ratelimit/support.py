"""A clock to turn by hand, the plain statement of the limits, and a limiter that leaks, for the proofs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gateway.ratelimit import shared
from gateway.ratelimit.decision import Decision
from gateway.ratelimit.shared import SharedLimiter, connect

START_MS = 1_800_000_000_000


@dataclass
class Clock:
    now: int = START_MS

    def __call__(self) -> int:
        return self.now


@dataclass
class Plain:
    """The rules in their plainest form: every admitted call of a scope, and the leases that stand."""

    calls: dict[str, dict[str, int]] = field(default_factory=dict)
    leases: dict[str, dict[str, int]] = field(default_factory=dict)

    def counted(self, scope, now):
        return {token for token, at in self.calls.get(scope, {}).items() if now - at <= 60_000}

    def waiting(self, scope, now):
        return {token for token, ends in self.leases.get(scope, {}).items() if ends > now}

    def admits(self, limits, token, now):
        return all(
            self._room(self.counted(scope, now), token, per_minute)
            and self._room(self.waiting(scope, now), token, queued)
            for scope, per_minute, queued in limits
        )

    @staticmethod
    def _room(taken, token, limit):
        return token in taken or len(taken) < limit

    def enter(self, limits, token, now, lease_ms):
        for scope, _, _ in limits:
            if token not in self.counted(scope, now):
                self.calls.setdefault(scope, {})[token] = now
            if token not in self.waiting(scope, now):
                self.leases.setdefault(scope, {})[token] = now + lease_ms

    def leave(self, scopes, token, *, forget):
        for scope in scopes:
            self.leases.get(scope, {}).pop(token, None)
            if forget:
                self.calls.get(scope, {}).pop(token, None)


@dataclass
class FixedWindow:
    """What not to do: a counter per clock minute lets twice the limit through around the full minute."""

    clock: Clock
    counts: dict[tuple[str, int], int] = field(default_factory=dict)

    def admit(self, *, scope, token, now_ms, per_minute, queued, lease_s, extra=()):
        window = (scope, self.clock() // 60_000)
        used = self.counts.get(window, 0)
        allowed = used < per_minute
        self.counts[window] = used + allowed
        return Decision(
            allowed=allowed,
            scope=scope,
            limit=per_minute,
            remaining=max(per_minute - used - 1, 0),
            reset_at_epoch_s=(now_ms // 60_000 + 1) * 60,
            retry_after_s=0 if allowed else 1,
            refused_by=None if allowed else "minute",
        )


def hammer(url, scope, barrier, results, *, calls, per_minute, queued, name):
    """One process of several that press one account at once, eight threads each."""
    shared.TIMEOUT_S = 20.0  # on a busy machine a slow answer must not look like a dead server
    limiter = SharedLimiter(connect(url))

    def one(number):
        return limiter.admit(
            scope=scope,
            token=f"{name}-{number}",
            now_ms=START_MS,
            per_minute=per_minute,
            queued=queued,
            lease_s=60,
            extra=[(f"{scope}:key", per_minute * 2, None)],
        )

    barrier.wait(30)
    with ThreadPoolExecutor(8) as threads:
        decisions = list(threads.map(one, range(calls)))
    results.put([(decision.allowed, decision.refused_by) for decision in decisions])
