from __future__ import annotations

import itertools

import pytest

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
    redis_server.forget_all()
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
    yield shared_limiter(request.getfixturevalue("redis_url"), clock)


def shared_limiter(url, clock=None):
    """On Redis's own clock, or on `clock`."""
    limiter = SharedLimiter(connect(url), clock_ms=clock)
    _opened.append(limiter)
    return limiter


_opened = []


@pytest.fixture(autouse=True)
def _closed():
    """No connection outlives its test."""
    yield
    while _opened:
        _opened.pop()._client.connection_pool.disconnect()


@pytest.fixture
def scope():
    return f"account:{next(_numbers)}"
