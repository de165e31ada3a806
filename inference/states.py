"""The life of a generation: which moves are allowed, each as one conditional UPDATE that says whether it won.

waiting -> running (leased) -> succeeded | failed | cancelled; running -> waiting when a lease ran out. A settled
generation never moves again, whoever reports what however late.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F

from inference.models import UNSETTLED, Generation, GenerationState

TRANSITIONS: dict[GenerationState, frozenset[GenerationState]] = {
    GenerationState.WAITING: frozenset(
        {GenerationState.RUNNING, GenerationState.SUCCEEDED, GenerationState.FAILED, GenerationState.CANCELLED}
    ),
    GenerationState.RUNNING: frozenset(
        {GenerationState.WAITING, GenerationState.SUCCEEDED, GenerationState.FAILED, GenerationState.CANCELLED}
    ),
    GenerationState.SUCCEEDED: frozenset(),
    GenerationState.FAILED: frozenset(),
    GenerationState.CANCELLED: frozenset(),
}


def generation_lease(*, generation_id: int, worker: str, lease_until: datetime) -> bool:
    """waiting -> running: `worker` may render the next attempt until `lease_until`."""
    return (
        Generation.objects.filter(pk=generation_id, state=GenerationState.WAITING).update(
            state=GenerationState.RUNNING,
            worker=worker,
            attempt=F("attempt") + 1,
            lease_until=lease_until,
            step=0,
        )
        == 1
    )


def lease_renew(
    *, generation_id: int, attempt: int, lease_until: datetime, now: datetime, step: int, steps: int
) -> bool:
    """The heartbeat of a running attempt; False when that attempt has lost its lease."""
    running = Generation.objects.filter(pk=generation_id, state=GenerationState.RUNNING, attempt=attempt)
    if running.update(lease_until=lease_until, step=step, steps=steps) == 0:
        return False
    running.filter(started_at=None).update(started_at=now)
    return True


def generation_requeue(*, generation_id: int, attempt: int) -> bool:
    """running -> waiting: the attempt is lost (its lease ran out, or its worker gave it back)."""
    return (
        Generation.objects.filter(pk=generation_id, state=GenerationState.RUNNING, attempt=attempt).update(
            state=GenerationState.WAITING, worker="", lease_until=None, step=0
        )
        == 1
    )


def generation_finish(*, generation_id: int, state: GenerationState, now: datetime, **outcome: Any) -> bool:
    """To a settled state with its outcome; False when somebody else has settled it already."""
    assert not TRANSITIONS[state], f"{state} is not an end"
    return (
        Generation.objects.filter(pk=generation_id, state__in=UNSETTLED).update(
            state=state, finished_at=now, lease_until=None, **outcome
        )
        == 1
    )
