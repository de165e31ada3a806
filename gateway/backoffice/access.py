"""Who of the staff may open a page of the console or act there. It decides on the server, for every view.

A visitor is sent to the log-in page, a customer finds nothing (404), a part without the permission 403, and so does
staff without a second factor where one is demanded.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render

from accounts.models import User
from accounts.staff import StaffRole, staff_roles_of
from gateway.site.speech import english


class Permission(enum.Enum):
    """What a view asks for. Each view has exactly one."""

    LOOK = "look at usage, customers, machines, models and calls"
    MONEY = "see the ledger and prove the books"
    CUSTOMERS = "suspend accounts, revoke keys, end sessions, export, act as a customer"
    FUNDS = "grant, correct and refund funds, change plans and limits of an account"
    MACHINES = "steer render workers and the queue"
    CATALOGUE = "publish and unpublish models"
    PRICES = "set prices"
    RECORDS = "see what staff did, and give roles to staff"
    HOUSE = "see settings and their checks, announce something to everybody"
    ERASE = "erase an account for good"


GRANTS: Mapping[StaffRole, frozenset[Permission]] = {
    StaffRole.SUPPORT: frozenset({Permission.LOOK, Permission.CUSTOMERS}),
    StaffRole.BILLING: frozenset({Permission.LOOK, Permission.MONEY, Permission.FUNDS, Permission.PRICES}),
    StaffRole.OPERATIONS: frozenset({Permission.LOOK, Permission.MACHINES, Permission.CATALOGUE, Permission.HOUSE}),
    StaffRole.OWNER: frozenset(Permission),
}


class StaffRequest(HttpRequest):
    """A request that came through `staff_page`."""

    user: User
    permissions: frozenset[Permission]
    section: str


View = Callable[..., HttpResponseBase]


def permissions_of(user: User) -> frozenset[Permission]:
    return frozenset().union(*(GRANTS[role] for role in staff_roles_of(user)))


def staff_page(*, section: str, needs: Permission) -> Callable[[View], View]:
    """Turn a view into a page of the console that `needs` one permission. The console is written in English."""

    def wrap(view: View) -> View:
        @login_required
        @english
        @functools.wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            page = cast(StaffRequest, request)
            page.permissions, page.section = permissions_of(page.user), section
            if not page.permissions:
                raise Http404
            if settings.STAFF_SECOND_FACTOR and not is_mfa_enabled(page.user):
                return render(request, "backoffice/second_factor.html", status=403)
            if needs not in page.permissions:
                raise PermissionDenied
            response = view(page, *args, **kwargs)
            response.headers.setdefault("Cache-Control", "private, no-store")
            return response

        inner.needs = needs  # type: ignore[attr-defined]
        return inner

    return wrap
