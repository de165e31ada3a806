"""The API path's limiter with what it must know of this house: the names of scopes, and which calls have ended."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from gateway.ids import generation_id_floor, generation_made_at
from gateway.ratelimit import WINDOW_MS, Limiter, LocalLimiter, SharedLimiter, Usage, get_limiter
from inference.selectors import calls_since, generations_settled, generations_unsettled, queued_calls

WINDOW = timedelta(milliseconds=WINDOW_MS)

# Between its place in the queue and its row a call takes milliseconds: by then it has a row or never will.
ADMISSION = timedelta(seconds=15)
PLACES_PER_RUN = 5000


@functools.cache
def limiter() -> Limiter:
    """This process's limiter. What counts locally asks the database which queued calls have ended elsewhere."""
    chosen = get_limiter()
    if isinstance(chosen, LocalLimiter):
        chosen.ended_elsewhere = _ended
    return chosen


def _ended(scope: str, tokens: Sequence[str]) -> Sequence[str]:
    return [str(settled) for settled in generations_settled([int(token) for token in tokens])]


def limit_scopes(*, account_id: int, key_id: int) -> list[str]:
    return [f"account:{account_id}", f"key:{key_id}"]


def usage_now(*, account_id: int, per_minute: int | None, queued: int | None, now: datetime) -> Usage:
    """What an account has used of its limits; consumes nothing. From its rows while the limiter cannot tell."""
    scope, now_ms = limit_scopes(account_id=account_id, key_id=0)[0], int(now.timestamp() * 1000)
    usage = limiter().peek(scope=scope, now_ms=now_ms, per_minute=per_minute, queued=queued)
    if usage is not None:
        return usage
    calls = calls_since(generation_id_floor(now - WINDOW), account_id=account_id)
    made_at = list(calls.values_list("created_at", flat=True))
    resets_at = (made_at[0] if made_at else now) + WINDOW
    waiting = queued_calls(account_id=account_id)
    return Usage(scope, per_minute, len(made_at), queued, waiting, math.ceil(resets_at.timestamp()))


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
