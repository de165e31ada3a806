"""What every request passes, API and pages alike: an id by which logs, replies and support speak of it. And for pages:
the reader's language.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation


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


class LanguageEndMiddleware:
    """Ends a page's language with its request: a thread serves many readers, and the API after them. Stands before
    Django's own LocaleMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.get_response(request)
        finally:
            translation.deactivate()


class LanguageMiddleware:
    """A person's own language, from their profile, where this browser was told none: before Accept-Language, after the
    cookie. Stands behind the authentication, and behind Django's own LocaleMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.known = {code for code, _ in settings.LANGUAGES}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        told = request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME)
        if not told and settings.SESSION_COOKIE_NAME in request.COOKIES:
            own = getattr(request.user, "language", "")
            if own in self.known:
                translation.activate(own)
                request.LANGUAGE_CODE = own
        return self.get_response(request)
