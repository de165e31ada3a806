"""The API path's limiter with what it must know of this house: the names of scopes, and which calls have ended."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime, timedelta

from gateway.ids import generation_made_at
from gateway.ratelimit import Limiter, LocalLimiter, SharedLimiter, get_limiter
from inference.selectors import generations_settled, generations_unsettled

# Between its place in the queue and its row a call takes milliseconds: by then it has a row or never will.
ADMISSION = timedelta(seconds=15)
PLACES_PER_RUN = 5000


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


def places_reconcile(*, now: datetime) -> int:
    """Free the places of calls that have ended, or never came to be, without Redis having heard of it; how many.

    Whoever admits or settles tells Redis beside the database, and may die or lose the message in between.
    """
    shared = limiter()
    if not isinstance(shared, SharedLimiter):
        return 0
    places = [(scope, int(token)) for scope, token in shared.queued(limit=PLACES_PER_RUN)]
    old = [(scope, call) for scope, call in places if generation_made_at(call) < now - ADMISSION]
    alive = generations_unsettled({call for _, call in old})
    lost = [(scope, call) for scope, call in old if call not in alive]
    for scope, call in lost:
        shared.finished([scope], str(call))
    return len(lost)
