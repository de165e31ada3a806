"""The web application: pages through all of Django's middleware, the API through almost none of it.

Sessions, cookies, CSRF, locale and security headers serve browsers. A call of the API has none of them, and skipping
them is worth about a fifth of its time; the request id is all that it needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup(set_prefix=False)

from django.core.handlers.exception import convert_exception_to_response  # noqa: E402 - the applications must be set up first
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402 - the applications must be set up first

from gateway.middleware import RequestIdMiddleware  # noqa: E402 - the applications must be set up first

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

API_PREFIXES = ("/api/", "/media/", "/health/")


class ApiHandler(WSGIHandler):
    """Django's own handler with the request id as its only middleware."""

    def load_middleware(self, is_async: bool = False) -> None:
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        innermost = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        self._middleware_chain = convert_exception_to_response(RequestIdMiddleware(innermost))  # type: ignore[arg-type]


class Application:
    def __init__(self) -> None:
        self.api = ApiHandler()
        self.site = WSGIHandler()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        handler = self.api if environ["PATH_INFO"].startswith(API_PREFIXES) else self.site
        return handler(environ, start_response)


application = Application()
