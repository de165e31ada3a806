"""The API path's limiter with what it must know of this house: the names of scopes, and which calls have ended."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from gateway.ratelimit import Limiter, LocalLimiter, SharedLimiter, get_limiter
from inference.selectors import generations_settled


@functools.cache
def limiter() -> Limiter:
    """This process's limiter. What counts locally asks the database which queued calls have ended elsewhere."""
    chosen = get_limiter()
    local = chosen.local if isinstance(chosen, SharedLimiter) else chosen
    if isinstance(local, LocalLimiter):
        local.ended_elsewhere = _ended
    return chosen


def _ended(scope: str, tokens: Sequence[str]) -> Sequence[str]:
    return [str(settled) for settled in generations_settled([int(token) for token in tokens])]


def limit_scopes(*, account_id: int, key_id: int) -> list[str]:
    return [f"account:{account_id}", f"key:{key_id}"]
