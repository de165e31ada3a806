"""Waiting for a result inside a request: bounded places, no database connection held, and never an error."""

from __future__ import annotations

import threading

from django.conf import settings

from gateway.turns import give_turn_away
from gateway.wakeups import finished_watch
from inference.models import Generation

_places = threading.BoundedSemaphore(settings.WAITING_PLACES)


def wait(generation: Generation, *, timeout_s: float) -> Generation:
    """The generation as it stands when it is settled, or when the time or the places have run out."""
    if generation.settled or timeout_s <= 0 or not _places.acquire(blocking=False):
        return generation
    give_turn_away()
    try:
        settled = finished_watch().wait(generation.pk, timeout_s=timeout_s)
    finally:
        _places.release()
    return Generation.objects.get(pk=generation.pk) if settled else generation
