"""How a model did lately, measured over its newest calls: times to the picture and the share that was delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.cache import cache

from gateway.dashboard.overview import percentiles
from gateway.ids import generation_id_floor
from inference.models import Generation, GenerationState

SPAN = timedelta(hours=24)
NEWEST = 500
_TTL_S = 60


@dataclass(frozen=True, slots=True)
class Performance:
    """Over the calls of the last 24 hours, at most the newest 500. None without any."""

    calls: int
    p50_ms: float | None
    p95_ms: float | None
    success: float | None


def of(model_id: str, *, now: datetime) -> Performance:
    """At most a minute old."""
    found = cache.get_or_set(f"site:performance:{model_id}", lambda: _measure(model_id, now), _TTL_S)
    assert isinstance(found, Performance)
    return found


def _measure(model_id: str, now: datetime) -> Performance:
    lately = Generation.objects.filter(pk__gte=generation_id_floor(now - SPAN))
    ended = lately.filter(model_id=model_id).exclude(finished_at=None)
    rows = list(ended.order_by("-id").values_list("state", "created_at", "finished_at")[:NEWEST])
    counted = [row for row in rows if row[0] != GenerationState.CANCELLED]
    good = [
        (end - start).total_seconds() * 1000
        for state, start, end in counted
        if end and state == GenerationState.SUCCEEDED
    ]
    middle, worst = percentiles(good)
    success = len(good) / len(counted) if counted else None
    return Performance(calls=len(counted), p50_ms=middle, p95_ms=worst, success=success)
