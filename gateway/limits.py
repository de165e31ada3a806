"""The API path's limiter with what it must know of this house: the names of scopes, and which calls have ended."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from gateway.ratelimit import Limiter, LocalLimiter, get_limiter
from inference.selectors import generations_settled


@functools.cache
def limiter() -> Limiter:
    """This process's limiter. A local one asks the database which queued calls have ended in another process."""
    shared = get_limiter()
    if isinstance(shared, LocalLimiter):
        shared.ended_elsewhere = _ended
    return shared


def _ended(scope: str, tokens: Sequence[str]) -> Iterable[str]:
    return [str(settled) for settled in generations_settled([int(token) for token in tokens])]


def limit_scopes(*, account_id: int, key_id: int) -> list[str]:
    return [f"account:{account_id}", f"key:{key_id}"]
