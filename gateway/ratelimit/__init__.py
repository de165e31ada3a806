"""The API path's limits: calls per minute and queued calls, exact under concurrency, before any table is touched.

The exact day quota and money live in the database; the web side's limits are django-ratelimit's.
"""

from __future__ import annotations

import functools

from django.conf import settings

from gateway.ratelimit.addresses import AddressGuard
from gateway.ratelimit.decision import WINDOW_MS, Decision, Limiter, Uncounted, Usage
from gateway.ratelimit.local import LocalLimiter
from gateway.ratelimit.shared import SharedLimiter, connect

__all__ = [
    "WINDOW_MS",
    "AddressGuard",
    "Decision",
    "Limiter",
    "LocalLimiter",
    "SharedLimiter",
    "Uncounted",
    "Usage",
    "address_check",
    "address_fail",
    "get_limiter",
]


@functools.cache
def get_limiter() -> Limiter:
    """This process's limiter: shared through Redis where REDIS_URL is set, else counted here."""
    if settings.REDIS_URL:
        return SharedLimiter(connect(settings.REDIS_URL))
    return LocalLimiter(processes=settings.WEB_PROCESSES)


@functools.cache
def _guard() -> AddressGuard:
    return AddressGuard(get_limiter(), alone=LocalLimiter(processes=settings.WEB_PROCESSES))


def address_check(address: str) -> int:
    """Seconds for which this address is refused because of failed keys; 0: go on."""
    return _guard().check(address)


def address_fail(address: str, *, now_ms: int) -> int:
    """Count a failed key from this address; seconds for which it is refused from now on."""
    return _guard().fail(address, now_ms=now_ms)
