"""Limits counted in this process: exact where one process serves, a share of the limit where several do.

It must never block on anything but its own lock.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gateway.ratelimit.decision import (
    LEAVES_AFTER_MS,
    QUEUED_RETRY_MS,
    Decision,
    Limit,
    Usage,
    Verdict,
    all_limits,
)

SWEEP_EVERY_CALLS = 2_048
# A full queue asks at most this often which of its calls ended in another process.
RECHECK_EVERY_MS = 1_000

# Given a scope and its queued tokens: those that have ended meanwhile.
EndedElsewhere = Callable[[str, Sequence[str]], Iterable[str]]


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class _Counts:
    """One scope: its calls of the last minute and the queued ones, oldest first, by token."""

    minute: OrderedDict[str, int] = field(default_factory=OrderedDict)  # token -> when it was admitted
    queued: dict[str, int] = field(default_factory=dict)  # token -> when its lease ends
    recheck_at_ms: int = 0

    def purge(self, now: int) -> None:
        minute = self.minute
        while minute:
            token = next(iter(minute))
            if now - minute[token] < LEAVES_AFTER_MS:
                break
            del minute[token]

    def purge_queued(self, now: int) -> None:
        for token in [token for token, ends in self.queued.items() if ends <= now]:
            del self.queued[token]

    @property
    def empty(self) -> bool:
        return not self.minute and not self.queued


class LocalLimiter:
    """With `processes` above one it allows each process its part, rounded down but at least one.

    Rounding down keeps all processes together within any limit of at least as many as there are processes.
    """

    def __init__(
        self,
        *,
        processes: int = 1,
        clock_ms: Callable[[], int] = monotonic_ms,
        ended_elsewhere: EndedElsewhere | None = None,
    ) -> None:
        self._processes = max(processes, 1)
        self._clock_ms = clock_ms
        self.ended_elsewhere = ended_elsewhere
        self._lock = threading.Lock()
        self._scopes: dict[str, _Counts] = {}
        self._calls = 0

    def admit(
        self,
        *,
        scope: str,
        token: str,
        now_ms: int,
        per_minute: int | None,
        queued: int | None,
        lease_s: int,
        extra: Sequence[tuple[str, int | None, int | None]] = (),
    ) -> Decision:
        limits = all_limits(scope, per_minute, queued, extra)
        self._drop_ended(limits)
        with self._lock:
            verdict = self._admit(limits, token, lease_s * 1000, self._clock_ms())
        return verdict.decision(now_ms=now_ms)

    def recall(
        self,
        *,
        scope: str,
        now_ms: int,
        per_minute: int | None,
        extra: Sequence[tuple[str, int | None, int | None]] = (),
    ) -> Decision | None:
        """Nothing: to decide costs no more here than to remember."""
        return None

    def give_back(self, scopes: Sequence[str], token: str) -> None:
        with self._lock:
            for counts in self._known(scopes):
                counts.minute.pop(token, None)
                counts.queued.pop(token, None)

    def finished(self, scopes: Sequence[str], token: str) -> None:
        with self._lock:
            for counts in self._known(scopes):
                counts.queued.pop(token, None)

    def renew(self, scopes: Sequence[str], token: str, *, lease_s: int) -> None:
        with self._lock:
            ends = self._clock_ms() + lease_s * 1000
            for counts in self._known(scopes):
                if token in counts.queued:
                    counts.queued[token] = max(ends, counts.queued[token])

    def peek(self, *, scope: str, now_ms: int, per_minute: int | None, queued: int | None) -> Usage:
        self._drop_ended([Limit(scope, per_minute, queued)])
        with self._lock:
            now = self._clock_ms()
            counts = self._scopes.get(scope) or _Counts()
            counts.purge(now)
            counts.purge_queued(now)
            used, waiting, wait_ms = len(counts.minute), len(counts.queued), _until_leaves(counts, 0, now)
        reset_at_epoch_s = -(-(now_ms + wait_ms) // 1000)
        return Usage(scope, per_minute, used, queued, waiting, reset_at_epoch_s)

    # --- under the lock ----------------------------------------------------------------------------------------

    def _counts(self, scope: str) -> _Counts:
        counts = self._scopes.get(scope)
        if counts is None:
            counts = self._scopes[scope] = _Counts()
        return counts

    def _known(self, scopes: Sequence[str]) -> list[_Counts]:
        return [self._scopes[scope] for scope in scopes if scope in self._scopes]

    def _admit(self, limits: list[Limit], token: str, lease_ms: int, now: int) -> Verdict:
        places = [(limit, self._counts(limit.scope)) for limit in limits]
        for _, counts in places:
            counts.purge(now)
            counts.purge_queued(now)
        refusals = [one for limit, counts in places for one in self._refusals(limit, counts, token, now)]
        if refusals:
            return max(refusals, key=lambda one: one.wait_ms)
        for limit, counts in places:
            self._enter(limit, counts, token, lease_ms, now)
        self._sweep(now)
        return self._tightest(places, now)

    def _refusals(self, limit: Limit, counts: _Counts, token: str, now: int) -> Iterator[Verdict]:
        """A limit that already counts this call (an admission repeated after a lost answer) lets it pass."""
        if limit.per_minute is not None and token not in counts.minute:
            part = self._part(limit.per_minute)
            used = len(counts.minute)
            if used >= part:
                wait_ms = _until_leaves(counts, used - part, now)
                yield Verdict(limit.scope, limit.per_minute, 0, wait_ms, "minute")
        queue_full = limit.queued is not None and len(counts.queued) >= self._part(limit.queued)
        if queue_full and token not in counts.queued:
            yield Verdict(limit.scope, limit.queued, 0, QUEUED_RETRY_MS, "queued")

    def _enter(self, limit: Limit, counts: _Counts, token: str, lease_ms: int, now: int) -> None:
        if limit.per_minute is not None and token not in counts.minute:
            counts.minute[token] = now
        if limit.queued is not None:
            counts.queued.setdefault(token, now + lease_ms)

    def _tightest(self, places: list[tuple[Limit, _Counts]], now: int) -> Verdict:
        tightest = Verdict(places[0][0].scope, None, None, 0, None)
        for limit, counts in places:
            if limit.per_minute is None:
                continue
            remaining = max(self._part(limit.per_minute) - len(counts.minute), 0)
            if tightest.remaining is None or remaining < tightest.remaining:
                wait_ms = _until_leaves(counts, 0, now)
                tightest = Verdict(limit.scope, limit.per_minute, remaining, wait_ms, None)
        return tightest

    def _part(self, limit: int) -> int:
        return max(limit // self._processes, 1) if limit > 0 else 0

    def _sweep(self, now: int) -> None:
        """Forget idle scopes now and then, so that memory follows the accounts of the last minutes."""
        self._calls += 1
        if self._calls % SWEEP_EVERY_CALLS:
            return
        for scope, counts in list(self._scopes.items()):
            counts.purge(now)
            counts.purge_queued(now)
            if counts.empty:
                del self._scopes[scope]

    # --- outside the lock --------------------------------------------------------------------------------------

    def _drop_ended(self, limits: Sequence[Limit]) -> None:
        """Free the places of calls that ended in another process (the worker settles; it cannot reach our memory)."""
        if self.ended_elsewhere is None:
            return
        for limit in limits:
            tokens = self._full_queue(limit)
            if tokens:
                for token in self.ended_elsewhere(limit.scope, tokens):
                    self.finished([limit.scope], token)

    def _full_queue(self, limit: Limit) -> list[str]:
        with self._lock:
            counts, now = self._scopes.get(limit.scope), self._clock_ms()
            if counts is None or limit.queued is None or counts.recheck_at_ms > now:
                return []
            if len(counts.queued) < self._part(limit.queued):
                return []
            counts.recheck_at_ms = now + RECHECK_EVERY_MS
            return list(counts.queued)


def _until_leaves(counts: _Counts, position: int, now: int) -> int:
    """Milliseconds until the call at this position of the log (0: the oldest) no longer counts."""
    for index, at in enumerate(counts.minute.values()):
        if index == position:
            return max(at + LEAVES_AFTER_MS - now, 0)
    return LEAVES_AFTER_MS
