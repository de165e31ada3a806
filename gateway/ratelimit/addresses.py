"""Failed keys per caller's address. A blocked address costs one look into a dictionary: no Redis, no SQL.

It must not count good keys: only a failure is counted, and only an address with too many is refused unheard.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable

from gateway.ratelimit.decision import Decision, Limiter
from gateway.ratelimit.local import LocalLimiter, monotonic_ms

# A person who mistypes tries a few times; a program that guesses is useless at this rate (keys hold 128 random bits).
FAILED_KEYS_PER_MINUTE = 20
BLOCKED_MAX = 10_000


class AddressGuard:
    """Each process learns that an address is blocked by its own next failure there, so at most one slips through."""

    def __init__(
        self,
        limiter: Limiter,
        *,
        alone: LocalLimiter | None = None,
        per_minute: int = FAILED_KEYS_PER_MINUTE,
        clock_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        """`alone` counts this process's part while the limiter cannot."""
        self._limiter = limiter
        self._alone = alone or LocalLimiter()
        self._per_minute = per_minute
        self._clock_ms = clock_ms
        self._blocked: dict[str, int] = {}

    def check(self, address: str) -> int:
        """Seconds for which this address is refused; 0: go on. Ask before a key is looked up."""
        if not self._blocked:
            return 0
        network = network_of(address)
        until_ms = self._blocked.get(network)
        if until_ms is None:
            return 0
        left_ms = until_ms - self._clock_ms()
        if left_ms <= 0:
            self._blocked.pop(network, None)
            return 0
        return -(-left_ms // 1000)

    def fail(self, address: str, *, now_ms: int) -> int:
        """Count a failed key; seconds for which the address is refused from now on, 0 while it may try again."""
        network = network_of(address)
        decision = self._count(network, now_ms)
        if decision.allowed and decision.remaining:
            return 0
        wait_s = max(decision.reset_at_epoch_s - now_ms // 1000, 1)
        self._block(network, self._clock_ms() + wait_s * 1000)
        return wait_s

    def _count(self, network: str, now_ms: int) -> Decision:
        token = secrets.token_hex(8)
        for limiter in (self._limiter, self._alone):
            decision = limiter.admit(
                scope=f"failed:{network}",
                token=token,
                now_ms=now_ms,
                per_minute=self._per_minute,
                queued=None,
                lease_s=0,
            )
            if isinstance(decision, Decision):
                return decision
        raise AssertionError("a process can always count for itself")

    def _block(self, network: str, until_ms: int) -> None:
        if len(self._blocked) >= BLOCKED_MAX:
            now = self._clock_ms()
            self._blocked = {known: until for known, until in self._blocked.copy().items() if until > now}
        if len(self._blocked) < BLOCKED_MAX:
            self._blocked[network] = until_ms


def network_of(address: str) -> str:
    """What one caller can hardly change: an IPv4 address, or the /64 that an IPv6 customer is given whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
