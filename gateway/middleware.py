"""What every request passes, API and pages alike: an id by which logs, replies and support speak of it."""

from __future__ import annotations

import random
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class RequestIdMiddleware:
    """Gives each request an id and returns it in the X-Request-Id header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = f"req_{random.getrandbits(96):024x}"
        request.request_id = name  # type: ignore[attr-defined]
        response = self.get_response(request)
        response.headers.setdefault("X-Request-Id", name)
        return response
