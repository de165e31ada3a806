"""Limits counted in Redis for all processes of all machines, one script and one round trip per admission.

The clock is Redis's own (TIME inside the script): machines disagree by seconds, and a log kept by several clocks is
exact under none. Redis vouches for a call only when it has heard of every call of the last minute: not while it cannot
be reached, nor in the first minute of a server that was emptied, nor of one that took another's place. Then the answer
is Uncounted, and who asked must count elsewhere. A circuit breaker keeps a dead Redis from costing its timeout on
every call.
"""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from gateway.ratelimit.decision import (
    LEAVES_AFTER_MS,
    QUEUED_RETRY_MS,
    Decision,
    Limit,
    RefusedBy,
    Uncounted,
    Usage,
    Verdict,
    all_limits,
)
from gateway.ratelimit.local import monotonic_ms
from gateway.ratelimit.refusals import Refusals

log = logging.getLogger(__name__)

TIMEOUT_S = 0.25
BREAKER_S = 1.0
# Far more threads wait for pictures than speak to Redis at the same moment (a call takes it 0.1 ms).
CONNECTIONS_MAX = 32
# Removals that Redis has not heard of yet; what falls off the end is freed by its lease.
OWED_MAX = 10_000
# When the server that answers began to count: only as old as what it has not forgotten.
COUNTING_SINCE = "limit:counting-since"

_RUN_ID = re.compile(rb"run_id:(\w+)")
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
REMOVE, RENEW, PEEK, ADMIT = SCRIPTS = [Script.read(name) for name in ("remove", "renew", "peek", "admit")]


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
            log.warning("Redis is away (%s): calls are counted in the database", type(problem).__name__)

    def worked(self) -> None:
        self.is_open = False
        log.warning("Redis is back and counts calls again")


class Connections:
    """Connections like those of a client's pool, lent without what the pool does around each command: looking into the
    socket, locks, records for telemetry. That was a third of what a script took. The last one used comes first.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._idle: deque[Any] = deque()

    def run(self, *command: str | int) -> Any:
        """The answer. Asks once more over a new connection when one broke, never after a timeout. Raises RedisError,
        OSError.
        """
        try:
            return self._ask(self._taken(), command)
        except redis.ConnectionError as problem:
            if isinstance(problem.__context__, BlockingIOError):  # the kernel's time was over
                raise redis.TimeoutError("Redis took too long.") from problem
            # What the server closed it closed for all of them.
            while self._idle:
                self._taken().disconnect()
            return self._ask(self._new(), command)

    def _ask(self, connection: Any, command: tuple[str | int, ...]) -> Any:
        try:
            connection.send_command(*command)
            answer = connection.read_response()
        except ResponseError:  # an answer like any other: the connection is sound
            self._keep(connection)
            raise
        except BaseException:
            connection.disconnect()
            raise
        self._keep(connection)
        return answer

    def _taken(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._new()

    def _new(self) -> Any:
        connection: Any = self._pool.connection_class(**self._pool.connection_kwargs)
        connection.connect()
        if type(connection._sock) is socket.socket:  # and not one with TLS, which reads more often than it answers
            _let_the_kernel_time(connection._sock, connection.socket_timeout)
        return connection

    def _keep(self, connection: Any) -> None:
        if len(self._idle) < CONNECTIONS_MAX:
            self._idle.append(connection)
        else:
            connection.disconnect()


def _let_the_kernel_time(sock: socket.socket, timeout_s: float) -> None:
    """Python looks whether a socket with a timeout is ready before each step, and lets other threads in each time. The
    kernel keeps the same time within the step; then it raises BlockingIOError."""
    limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1_000_000))
    sock.setblocking(True)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


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
    """`clock_ms` replaces Redis's clock in tests."""

    def __init__(self, client: redis.Redis, *, clock_ms: Callable[[], int] | None = None) -> None:
        self._client: Any = client
        self._connections = Connections(client.connection_pool)
        self._clock_ms = clock_ms
        self.breaker = Breaker()
        self._refusals = Refusals()
        self._owed: deque[tuple[list[str], str]] = deque(maxlen=OWED_MAX)
        self._introducing = threading.Lock()
        self._server: bytes | None = None
        self._replaced_until_ms = 0
        client.connection_pool.connection_kwargs["redis_connect_func"] = self._meet

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
    ) -> Decision | Uncounted:
        """A refusal holds whatever Redis has forgotten; a call that it admits may still be Uncounted, and is logged."""
        limits = all_limits(scope, per_minute, queued, extra)
        answer = self._ask(limits, token, lease_s * 1000)
        if answer is None:
            return Uncounted(None)
        verdict, counting_ms = self._understood(limits, answer)
        if verdict.refused_by is None:
            if monotonic_ms() < self._replaced_until_ms:
                return Uncounted(None)
            if counting_ms < LEAVES_AFTER_MS:
                return Uncounted(counting_ms)
        self._refusals.note(verdict, now_ms=self._steady_ms())
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
        verdict = self._refusals.recall(limits, now_ms=self._steady_ms())
        return verdict.decision(now_ms=now_ms) if verdict else None

    def give_back(self, scopes: Sequence[str], token: str) -> None:
        self._refusals.forget(scopes)
        self._remove(_keys(scopes), token)

    def finished(self, scopes: Sequence[str], token: str) -> None:
        self._remove([_queue(scope) for scope in scopes], token)

    def renew(self, scopes: Sequence[str], token: str, *, lease_s: int) -> None:
        self._run(RENEW, [_queue(scope) for scope in scopes], [token, lease_s * 1000, self._clock()])

    def peek(self, *, scope: str, now_ms: int, per_minute: int | None, queued: int | None) -> Usage | None:
        answer = self._run(PEEK, [_log(scope), _queue(scope)], [self._clock()])
        if answer is None:
            return None
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

    # --- the conversation --------------------------------------------------------------------------------------

    def _ask(self, limits: list[Limit], token: str, lease_ms: int) -> list[int] | None:
        arguments: list[str | int] = [token, lease_ms, self._clock(), QUEUED_RETRY_MS]
        for limit in limits:
            arguments.append(-1 if limit.per_minute is None else limit.per_minute)
            arguments.append(-1 if limit.queued is None else limit.queued)
        keys = [*_keys([limit.scope for limit in limits]), COUNTING_SINCE]
        answer: list[int] | None = self._run(ADMIT, keys, arguments)
        return answer

    @staticmethod
    def _understood(limits: list[Limit], answer: list[int]) -> tuple[Verdict, int]:
        _, index, refused_by, limit, remaining, wait_ms, counting_ms = answer
        scope = limits[index - 1].scope
        if limit < 0:
            return Verdict(scope, None, None, wait_ms, None), counting_ms
        return Verdict(scope, limit, remaining, wait_ms, _REFUSED_BY[refused_by]), counting_ms

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
                self._introduce()
            command = ("EVALSHA", script.digest, len(keys), *keys, *arguments)
            try:
                answer = self._connections.run(*command)
            except NoScriptError:
                self._introduce()
                answer = self._connections.run(*command)
        except (RedisError, OSError) as problem:
            self.breaker.failed(problem)
            return None
        if probing:
            self.breaker.worked()
        return answer

    def _meet(self, connection: Any) -> None:
        """A new connection may lead to another server: one restarted, or a replica that lacks its last calls."""
        connection.on_connect()
        connection.send_command("INFO", "server")
        try:
            facts = connection.read_response()
        except ResponseError:  # an operator may forbid the question; then only an emptied server is recognised
            return
        found = _RUN_ID.search(facts if isinstance(facts, bytes) else str(facts).encode())
        server = found.group(1) if found else None
        if self._server is not None and server != self._server:
            self._replaced_until_ms = monotonic_ms() + LEAVES_AFTER_MS
        self._server = server

    def _introduce(self) -> None:
        """Tell Redis the scripts, and what has ended since it was last heard."""
        with self._introducing:
            for script in SCRIPTS:
                self._client.script_load(script.text)
            self._pay()

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

    def _steady_ms(self) -> int:
        return monotonic_ms() if self._clock_ms is None else self._clock_ms()


def _log(scope: str) -> str:
    return f"limit:{scope}:minute"


def _queue(scope: str) -> str:
    return f"limit:{scope}:queued"


def _keys(scopes: Sequence[str]) -> list[str]:
    return [key for scope in scopes for key in (_log(scope), _queue(scope))]
