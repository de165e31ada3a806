"""Error pages in the site's look: each names the request id and what to do next. The API has its own errors."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_noop as _
from django_ratelimit.exceptions import Ratelimited

from gateway.site.context import THEME_COOKIE, THEMES


@dataclass(frozen=True, slots=True)
class Fault:
    status: int
    title: str
    advice: str


NOT_FOUND = Fault(404, _("There is nothing at this address"), _("It may have moved, or it belongs to another account."))
FORBIDDEN = Fault(403, _("You may not do this"), _("Your role in this account does not include it: ask an owner."))
BAD_REQUEST = Fault(400, _("The request could not be read"), _("Go back, check what you entered, and send it again."))
TOO_LARGE = Fault(413, _("That is too large"), _("Go back and send less at once. Nothing was done."))
STALE_FORM = Fault(
    403, _("This form has gone stale"), _("Reload the page before it and send the form again: nothing was done.")
)
TOO_MANY = Fault(429, _("Too many tries"), _("Wait a minute, then try again. Nothing was done."))
BROKEN = Fault(
    500, _("Something broke on our side"), _("It has been recorded. Try again; if it stays, send us the request id.")
)


def page(request: HttpRequest, fault: Fault) -> HttpResponse:
    context = {"fault": fault, "request_id": getattr(request, "request_id", "")}
    return render(request, "site/error.html", context, status=fault.status)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(request, NOT_FOUND)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Also what django-ratelimit raises: its exception is a permission denied."""
    return too_many(request) if isinstance(exception, Ratelimited) else page(request, FORBIDDEN)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return page(request, TOO_LARGE if isinstance(exception, RequestDataTooBig) else BAD_REQUEST)


def stale_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW."""
    return page(request, STALE_FORM)


def too_many(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """RATELIMIT_VIEW, and the answer of views that count for themselves."""
    response = page(request, TOO_MANY)
    response["Retry-After"] = "60"
    return response


def broken(request: HttpRequest) -> HttpResponse:
    """The last resort: it asks the database nothing, for that may be what broke."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    context = {
        "fault": BROKEN,
        "request_id": getattr(request, "request_id", ""),
        "theme": theme if theme in THEMES else "system",
    }
    return render(None, "500.html", context, status=500)
