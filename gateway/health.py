"""Probes: `live` is this process alone, `ready` is whether a call would be accepted and rendered."""

from __future__ import annotations

from datetime import timedelta

from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from inference.selectors import workers_alive

SILENT = timedelta(seconds=20)


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> JsonResponse:
    """200 when the database answers and a render worker lives, else 503 with what is missing."""
    try:
        workers = workers_alive().filter(last_seen_at__gte=timezone.now() - SILENT).count()
    except DatabaseError:
        return JsonResponse({"status": "unavailable", "database": False}, status=503)
    body = {"status": "ok" if workers else "unavailable", "database": True, "render_workers": workers}
    return JsonResponse(body, status=200 if workers else 503)
