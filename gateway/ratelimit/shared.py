"""Limits counted in Redis for all processes of all machines, one script and one round trip per admission.

The clock is Redis's own (TIME inside the script): machines disagree by seconds, and a log kept by several clocks is
exact under none. While Redis is away each process goes on alone, by its part of every limit and by what it last heard
of the shared count; a circuit breaker keeps a dead Redis from costing its timeout on every call. When it is back, a
process first tells it of the calls it missed, and keeps to its part too until the others have done the same.

Exact while Redis answers, and within the limit while it is away from all (but for a call that was under way at the
moment of losing it). A process that alone cannot reach it adds at most its own part to what the others are allowed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from gateway.ratelimit.decision import QUEUED_RETRY_MS, Decision, Limit, RefusedBy, Usage, Verdict, all_limits
from gateway.ratelimit.local import LocalLimiter
from gateway.ratelimit.refusals import Refusals

log = logging.getLogger(__name__)

TIMEOUT_S = 0.25
BREAKER_S = 1.0
# By then every other process has tried Redis again and told it of its calls.
CAREFUL_S = 2 * (BREAKER_S + TIMEOUT_S)
# Far more threads wait for pictures than speak to Redis at the same moment (a call takes it 0.1 ms).
CONNECTIONS_MAX = 32
# Removals that Redis has not heard of yet; what falls off the end is freed by its lease.
OWED_MAX = 10_000
REPLAY_CHUNK_SCOPES = 500

_REFUSED_BY: tuple[RefusedBy | None, ...] = (None, "minute", "queued")


class Script(NamedTuple):
    """A Lua file beside this module; Redis is told its text once and its digest from then on."""

    text: str
    digest: str

    @classmethod
    def read(cls, name: str) -> Script:
        text = (Path(__file__).parent / f"{name}.lua").read_text()
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


# Loaded in this order: whoever finds the last one there finds them all.
REPLAY, REMOVE, RENEW, PEEK, ADMIT = SCRIPTS = [
    Script.read(name) for name in ("replay", "remove", "renew", "peek", "admit")
]


class Breaker:
    """Open after a failure: everyone goes on without Redis, and one caller per period tries it."""

    def __init__(self, period_s: float = BREAKER_S) -> None:
        self._period_s = period_s
        self._lock = threading.Lock()
        self._retry_at_s = 0.0
        self.is_open = False

    def may_probe(self) -> bool:
        with self._lock:
            now_s = time.monotonic()
            if now_s < self._retry_at_s:
                return False
            self._retry_at_s = now_s + self._period_s
            return True

    def failed(self, problem: Exception) -> None:
        with self._lock:
            self._retry_at_s = time.monotonic() + self._period_s
            newly, self.is_open = not self.is_open, True
        if newly:
            log.warning("Redis is away (%s): limits are counted by each process alone", type(problem).__name__)

    def worked(self) -> None:
        self.is_open = False
        log.warning("Redis is back: limits are shared again")


def connect(url: str) -> redis.Redis:
    """A client that gives up quickly. It repeats a call once on a broken connection, never after a timeout."""
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )
    return redis.Redis(connection_pool=pool)


class SharedLimiter:
    """`processes` is the number of web processes on all machines: the divisor while Redis is away.

    `clock_ms` replaces Redis's clock in tests.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        processes: int = 1,
        clock_ms: Callable[[], int] | None = None,
        local: LocalLimiter | None = None,
    ) -> None:
        self._client: Any = client
        self._clock_ms = clock_ms
        self.local = local or LocalLimiter(processes=processes)
        self.breaker = Breaker()
        self._refusals = Refusals()
        self._owed: deque[tuple[list[str], str]] = deque(maxlen=OWED_MAX)
        self._introducing = threading.Lock()
        self._has_spoken = False
        self._careful_until_s = 0.0

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
        verdict = self._decide(limits, token, lease_s * 1000)
        self._refusals.note(verdict, now_ms=self.local.now())
        return verdict.decision(now_ms=now_ms)

    def recall(
        self,
        *,
        scope: str,
        now_ms: int,
        per_minute: int | None,
        extra: Sequence[tuple[str, int | None, int | None]] = (),
    ) -> Decision | None:
        limits = all_limits(scope, per_minute, None, extra)
        verdict = self._refusals.recall(limits, now_ms=self.local.now())
        return verdict.decision(now_ms=now_ms) if verdict else None

    def give_back(self, scopes: Sequence[str], token: str) -> None:
        self._refusals.forget(scopes)
        self.local.give_back(scopes, token)
        self._remove(_keys(scopes), token)

    def finished(self, scopes: Sequence[str], token: str) -> None:
        self.local.finished(scopes, token)
        self._remove([_queue(scope) for scope in scopes], token)

    def renew(self, scopes: Sequence[str], token: str, *, lease_s: int) -> None:
        self.local.renew(scopes, token, lease_s=lease_s)
        self._run(RENEW, [_queue(scope) for scope in scopes], [token, lease_s * 1000, self._clock()])

    def peek(self, *, scope: str, now_ms: int, per_minute: int | None, queued: int | None) -> Usage:
        answer = self._run(PEEK, [_log(scope), _queue(scope)], [self._clock()])
        if answer is None:
            return self.local.peek(scope=scope, now_ms=now_ms, per_minute=per_minute, queued=queued)
        used, waiting, wait_ms = answer
        return Usage(scope, per_minute, used, queued, waiting, -(-(now_ms + wait_ms) // 1000))

    def queued(self, *, limit: int) -> list[tuple[str, str]]:
        """Scope and token of the queued calls that Redis counts, as many as `limit`; none while it is away.

        It walks through all keys: for sweeps, never for a call.
        """
        places: list[tuple[str, str]] = []
        try:
            for key in self._client.scan_iter(_queue("*"), count=1000):
                scope = key.decode().removeprefix("limit:").removesuffix(":queued")
                places += [(scope, token.decode()) for token in self._client.zrange(key, 0, limit - len(places))]
                if len(places) >= limit:
                    break
        except (RedisError, OSError) as problem:
            log.warning("Places in queues could not be looked at: %s", type(problem).__name__)
            return []
        return places

    # --- who decides -------------------------------------------------------------------------------------------

    def _decide(self, limits: list[Limit], token: str, lease_ms: int) -> Verdict:
        unasked, asked_at = self.breaker.is_open, self.local.now()
        answer = self._ask(limits, token, lease_ms)
        if answer is None:
            verdict = self.local.decide(limits, token, lease_ms)
            if verdict.refused_by and not unasked:
                # The question may have reached Redis although its answer did not reach us.
                self._owed.append((_keys([limit.scope for limit in limits]), token))
            return verdict
        if answer[0] and self._careful_until_s and not self._is_careful_over():
            verdict = self._own_part(limits, token, lease_ms)
            if verdict.refused_by:
                return verdict
        return self._heard(limits, token, answer, asked_at)

    def _own_part(self, limits: list[Limit], token: str, lease_ms: int) -> Verdict:
        """Redis allows the call, but may not have heard of the others' calls yet: our own part must allow it too."""
        scopes = [limit.scope for limit in limits]
        verdict = self.local.decide(limits, token, lease_ms)
        if verdict.refused_by:
            self._remove(_keys(scopes), token)
        else:
            self.local.finished(scopes, token)  # its place in the queue is kept by Redis
        return verdict

    def _is_careful_over(self) -> bool:
        if time.monotonic() < self._careful_until_s:
            return False
        self._careful_until_s = 0.0
        return True

    # --- the conversation --------------------------------------------------------------------------------------

    def _ask(self, limits: list[Limit], token: str, lease_ms: int) -> list[int] | None:
        arguments: list[str | int] = [token, lease_ms, self._clock(), QUEUED_RETRY_MS]
        for limit in limits:
            arguments.append(-1 if limit.per_minute is None else limit.per_minute)
            arguments.append(-1 if limit.queued is None else limit.queued)
        answer: list[int] | None = self._run(ADMIT, _keys([limit.scope for limit in limits]), arguments)
        return answer

    def _heard(self, limits: list[Limit], token: str, answer: list[int], asked_at: int) -> Verdict:
        allowed, index, refused_by, limit, remaining, wait_ms = answer[:6]
        forgotten = self.local.note_shared(
            limits, answer[6:], asked_at=asked_at, admitted_token=token if allowed else None
        )
        if forgotten:
            self._remind(forgotten)
        scope = limits[index - 1].scope
        if limit < 0:
            return Verdict(scope, None, None, wait_ms, None)
        return Verdict(scope, limit, remaining, wait_ms, _REFUSED_BY[refused_by])

    def _remind(self, scopes: list[str]) -> None:
        """Redis counts fewer calls than this process alone made: it was emptied."""
        try:
            try:
                self._replay(self.local.recent(scopes))
            except NoScriptError:
                self._introduce(careful=True)
        except (RedisError, OSError) as problem:
            self.breaker.failed(problem)
        self._careful_until_s = time.monotonic() + CAREFUL_S

    def _remove(self, keys: list[str], token: str) -> None:
        if self._run(REMOVE, keys, [token]) is None:
            self._owed.append((keys, token))

    def _run(self, script: Script, keys: list[str], arguments: Sequence[str | int]) -> Any:
        """The script's answer, or None while Redis is away."""
        probing = self.breaker.is_open
        if probing and not self.breaker.may_probe():
            return None
        try:
            if probing:
                self._introduce(careful=True)
            try:
                answer = self._client.evalsha(script.digest, len(keys), *keys, *arguments)
            except NoScriptError:
                # A server that does not know our scripts is new, or was started anew: it has forgotten the calls too.
                self._introduce(careful=self._has_spoken)
                answer = self._client.evalsha(script.digest, len(keys), *keys, *arguments)
        except (RedisError, OSError) as problem:
            self.breaker.failed(problem)
            return None
        self._has_spoken = True
        if probing:
            self.breaker.worked()
        return answer

    def _introduce(self, *, careful: bool) -> None:
        """Tell Redis the scripts, the calls of the last minute that it may have missed, and what has ended since."""
        with self._introducing:
            for script in SCRIPTS:
                self._client.script_load(script.text)
            self._pay()
            self._replay(self.local.recent())
        if careful:
            self._careful_until_s = time.monotonic() + CAREFUL_S

    def _replay(self, calls: Sequence[tuple[str, list[tuple[str, int]]]]) -> None:
        for start in range(0, len(calls), REPLAY_CHUNK_SCOPES):
            pipeline = self._client.pipeline(transaction=False)
            for scope, entries in calls[start : start + REPLAY_CHUNK_SCOPES]:
                arguments = [part for token, age_ms in entries for part in (age_ms, token)]
                pipeline.evalsha(REPLAY.digest, 1, _log(scope), self._clock(), *arguments)
            pipeline.execute()

    def _pay(self) -> None:
        pipeline = self._client.pipeline(transaction=False)
        owed = [self._owed.popleft() for _ in range(len(self._owed))]
        for keys, token in owed:
            pipeline.evalsha(REMOVE.digest, len(keys), *keys, token)
        try:
            pipeline.execute()
        except (RedisError, OSError):
            self._owed.extendleft(reversed(owed))
            raise

    def _clock(self) -> int | str:
        return "" if self._clock_ms is None else self._clock_ms()


def _log(scope: str) -> str:
    return f"limit:{scope}:minute"


def _queue(scope: str) -> str:
    return f"limit:{scope}:queued"


def _keys(scopes: Sequence[str]) -> list[str]:
    return [key for scope in scopes for key in (_log(scope), _queue(scope))]
