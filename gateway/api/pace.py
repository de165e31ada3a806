"""How long a call will take, from what the render workers measured. A guess that is renewed every few seconds."""

from __future__ import annotations

import math

from gateway.caching import TtlCache
from inference.models import Generation, GenerationState
from inference.selectors import queue_position, run_seconds_typical, slots_alive, waiting_count

ETA_S_MAX = 3600
_pace: TtlCache[str, tuple[float, int]] = TtlCache(ttl_s=5.0, watched=False)
_waiting: TtlCache[str, int] = TtlCache(ttl_s=1.0, watched=False)


def pace() -> tuple[float, int]:
    """Seconds of a typical render, and how many run at once (at least one)."""
    return _pace.get("now", lambda: (run_seconds_typical(), max(slots_alive(), 1)))


def place_and_eta(generation: Generation, *, just_placed: bool = False) -> tuple[int, int]:
    """How many calls stand before this one, and whole seconds until it is done.

    A call that was just placed stands behind all that waited a second ago: close enough, and without a count.
    """
    if generation.settled:
        return 0, 1
    run_s, slots = pace()
    if generation.state == GenerationState.RUNNING:
        left = 1 - generation.step / generation.steps if generation.steps else 1
        return 0, _whole(run_s * left)
    position = _newest_position() if just_placed else queue_position(generation)
    return position, _whole(run_s * (1 + position / slots))


def _newest_position() -> int:
    """All that wait, without the call itself where it is in the count already."""
    counted: list[int] = []

    def count() -> int:
        counted.append(waiting_count())
        return counted[0]

    waiting = _waiting.get("now", count)
    return max(waiting - len(counted), 0)


def queue_eta_s(waiting: int) -> int:
    run_s, slots = pace()
    return _whole(run_s * waiting / slots) if waiting else 0


def _whole(seconds: float) -> int:
    return min(max(math.ceil(seconds), 1), ETA_S_MAX)
