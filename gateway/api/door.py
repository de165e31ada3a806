"""The one Django view of the API: find the route, read the call, let the handler answer, and tell every problem alike.

Nothing that goes wrong behind it leaves as anything but JSON with a code; nothing that it logs holds a key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts.errors import DomainError
from gateway.api.errors import LEGACY_VERSIONS, answer_to, error_body
from gateway.api.last_use import key_used
from gateway.api.limits import refusal_headers
from gateway.api.parsing import Call, call_read
from gateway.api.refusals import InternalError, MethodNotAllowed, RouteNotFound, TemporarilyUnavailable
from gateway.api.route import GET, Reply, Route
from gateway.refusals import refusals
from inference.errors import InvalidRequest

logger = logging.getLogger(__name__)

JSON = "application/json"
RETRY_AFTER_S = 2
FOR_PAGES = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset",
}
ALLOWED_TO_PAGES = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Key, X-API-Key, Idempotency-Key",
    "Access-Control-Max-Age": "7200",
}
PATH_SHOWN_MAX = 120


class Table:
    """Routes by path. Finding one costs two look-ups, however many there are."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = self._by_path.setdefault(route.path, {})
            for method in route.methods:
                assert method not in methods, f"{method} {route.path} stands twice in the table"
                methods[method] = route

    def find(self, path: str, method: str) -> tuple[Route, str]:
        """The route and the id at the path's end. Raises RouteNotFound, MethodNotAllowed."""
        path = path.rstrip("/")
        methods, given_id = self._by_path.get(path), ""
        if methods is None:
            head, _, given_id = path.rpartition("/")
            methods = self._by_path.get(f"{head}/{{id}}")
        if methods is None:
            raise RouteNotFound(path=f"/api/{path[:PATH_SHOWN_MAX]}")
        route = methods.get(GET if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(methods)
            raise MethodNotAllowed(path=f"/api/{path[:PATH_SHOWN_MAX]}", allowed=allowed, method=method[:10])
        return route, given_id


def api_view(table: Table) -> Callable[..., HttpResponse]:
    @csrf_exempt
    def api(request: HttpRequest, path: str) -> HttpResponse:
        """Every call of the API."""
        route: Route | None = None
        call: Call | None = None
        if request.method == "OPTIONS":
            return preflight()
        try:
            route, given_id = table.find(path, request.method or GET)
            call = call_read(request, now=timezone.now())
            reply = route.handler(call, route, given_id)
            if call.caller is not None:
                key_used(key_id=call.caller.key_id, address=call.address, endpoint=route.path, now=call.now)
        except DomainError as problem:
            reply = refusal(problem, request, path, route, call)
        except (OperationalError, InterfaceError) as problem:
            logger.warning("A call could not be served: the database is away or busy: %s", type(problem).__name__)
            reply = refusal(TemporarilyUnavailable(retry_after_s=RETRY_AFTER_S), request, path, route, call)
        except Exception:
            logger.exception("A call of %s broke: %s", path[:PATH_SHOWN_MAX], getattr(request, "request_id", ""))
            reply = refusal(InternalError(), request, path, route, call)
        response = respond(reply)
        if "HTTP_ORIGIN" in request.META:
            for name, value in FOR_PAGES.items():
                response.headers[name] = value
        return response

    return api


def preflight() -> HttpResponse:
    """What browsers ask before a page of another host may call. No cookie counts here, so any page may: the key decides
    (see its list of web pages)."""
    return HttpResponse(status=204, headers={**FOR_PAGES, **ALLOWED_TO_PAGES, "Content-Length": "0"})


def respond(reply: Reply) -> HttpResponse:
    body = orjson.dumps(reply.body, default=str)
    response = HttpResponse(body, content_type=JSON, status=reply.status)
    # Without its length the server would send it in chunks: more work here, and nothing for a client of HTTP/1.0.
    response.headers["Content-Length"] = str(len(body))
    for name, value in reply.headers.items():
        response.headers[name] = value
    # Django would log each refusal with its path; refusals are the caller's business and cheap on purpose.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def refusal(problem: DomainError, request: HttpRequest, path: str, route: Route | None, call: Call | None) -> Reply:
    version = route.version if route else path[:2]
    status = answer_to(problem).status
    refusals.count(problem.code)
    body = error_body(problem, request_id=getattr(request, "request_id", ""))
    if settings.LEGACY_VALIDATION_OBJECT and version in LEGACY_VERSIONS and isinstance(problem, InvalidRequest):
        body["message"] = body["messege"] = by_field(problem)
    limited_route = route is not None and route.profile is not None
    headers = refusal_headers(problem, call, limited_route=limited_route)
    if status == 405:
        headers["Allow"] = str(problem.fields["allowed"])
    if settings.LEGACY_ERROR_STATUS and version in LEGACY_VERSIONS:
        status = 200
    return Reply(body, status=status, headers=headers)


def by_field(problem: DomainError) -> dict[str, list[str]]:
    """The older validation style: field -> its faults in words."""
    texts: dict[str, list[str]] = {}
    faults: list[dict[str, Any]] = problem.fields["faults"]
    for fault in faults:
        texts.setdefault(fault["field"], []).append(fault["message"])
    return texts
