"""Failed keys per address: guessing is slow, and a blocked address costs nearly nothing."""

from __future__ import annotations

import pytest

from gateway.ratelimit import addresses
from gateway.ratelimit.addresses import AddressGuard, network_of
from gateway.ratelimit.local import LocalLimiter
from tests.gateway.ratelimit.support import START_MS, Clock

GUESSER, NEIGHBOUR = "203.0.113.9", "203.0.113.10"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def guard(clock):
    return AddressGuard(LocalLimiter(clock_ms=clock), per_minute=3, clock_ms=clock)


def fail(guard, address=GUESSER, *, times=1):
    return [guard.fail(address, now_ms=START_MS) for _ in range(times)]


def test_an_address_is_blocked_by_its_last_allowed_failure(guard):
    assert fail(guard, times=2) == [0, 0]
    assert guard.check(GUESSER) == 0
    assert fail(guard) == [61]
    assert guard.check(GUESSER) == 61
    assert guard.check(NEIGHBOUR) == 0


def test_the_block_ends_by_itself(guard, clock):
    fail(guard, times=3)
    clock.now += 60_999
    assert guard.check(GUESSER) == 1
    clock.now += 1
    assert guard.check(GUESSER) == 0
    assert fail(guard) == [0]


def test_failures_far_apart_block_nobody(guard, clock):
    for _ in range(10):
        assert fail(guard) == [0]
        clock.now += 31_000


def test_another_process_learns_of_the_block_by_one_failure(clock):
    limiter = LocalLimiter(clock_ms=clock)
    first, second = (AddressGuard(limiter, per_minute=3, clock_ms=clock) for _ in range(2))
    fail(first, times=3)
    assert second.check(GUESSER) == 0
    assert fail(second) == [61]
    assert second.check(GUESSER) == 61


def test_the_list_of_blocked_addresses_is_bounded(guard, clock, monkeypatch):
    monkeypatch.setattr(addresses, "BLOCKED_MAX", 2)
    for last in range(3):
        fail(guard, f"198.51.100.{last}", times=3)
    assert [guard.check(f"198.51.100.{last}") > 0 for last in range(3)] == [True, True, False]
    clock.now += 61_000
    fail(guard, times=3)
    assert guard.check(GUESSER) == 61


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("not an address" * 10, ("not an address" * 10)[:64]),
    ],
)
def test_what_a_caller_can_change_at_will_is_one_network(address, network):
    assert network_of(address) == network
