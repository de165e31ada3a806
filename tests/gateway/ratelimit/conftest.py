from __future__ import annotations

import itertools

import pytest
import redis

from gateway.ratelimit.local import LocalLimiter
from gateway.ratelimit.shared import SharedLimiter, connect
from tests.gateway.ratelimit.support import Clock
from tests.support.servers import RedisServer, ServerMissing, running, servers_required

_numbers = itertools.count()


@pytest.fixture(scope="module")
def redis_server():
    try:
        with running(RedisServer) as server:
            yield server
    except ServerMissing as missing:
        if servers_required():
            raise
        pytest.skip(f"NOT TESTED: {missing}")


@pytest.fixture
def redis_url(redis_server):
    if redis_server.process is None:
        redis_server.start()
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["local", pytest.param("shared", marks=pytest.mark.redis)])
def limiter(request, clock):
    """Both kinds, on the same clock: whatever holds for one holds for the other."""
    if request.param == "local":
        yield LocalLimiter(clock_ms=clock)
        return
    shared = shared_limiter(request.getfixturevalue("redis_url"), clock)
    yield shared
    shared._client.close()


def shared_limiter(url, clock=None, *, processes=1):
    local = LocalLimiter(processes=processes, clock_ms=clock) if clock else None
    return SharedLimiter(connect(url), processes=processes, clock_ms=clock, local=local)


@pytest.fixture
def scope():
    return f"account:{next(_numbers)}"
