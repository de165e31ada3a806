"""Who may open a page of an account: the person, the account they look at, and their role in it.

A page is a function of an AccountRequest. Strangers get 404, roles too small 403, visitors the log-in page.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone

from accounts.models import Account, Membership, Role, User
from gateway.backoffice.access import Permission, permissions_of
from gateway.backoffice.acting import account_facts, acting_asked, acting_changed
from gateway.templatetags.units import zone

SESSION_ACCOUNT = "account_id"
SESSION_ACTING = "acting_account_id"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
EVERYONE = frozenset(Role)
MAKERS = frozenset({Role.OWNER, Role.DEVELOPER})
PAYERS = frozenset({Role.OWNER, Role.BILLING})
OWNERS = frozenset({Role.OWNER})


class AccountRequest(HttpRequest):
    """A request that came through `account_page`: `user` is logged in and a member of `account`."""

    user: User
    account: Account
    role: Role


Page = Callable[..., HttpResponseBase]


def membership_acted(request: HttpRequest) -> Membership | None:
    """What staff has who acts for a customer: a developer's part, which nobody pays or invites with. Never saved."""
    account_id, user = request.session.get(SESSION_ACTING), cast(User, request.user)
    if not account_id or Permission.CUSTOMERS not in permissions_of(user):
        return None
    account = Account.objects.filter(pk=account_id).first()
    return Membership(account=account, user=user, role=Role.DEVELOPER) if account else None


def membership_in_use(request: HttpRequest) -> Membership | None:
    """The membership whose account the person looks at: the one chosen last, else their first."""
    if acted := membership_acted(request):
        return acted
    mine = Membership.objects.filter(user=cast(User, request.user)).select_related("account")
    chosen = request.session.get(SESSION_ACCOUNT)
    return (chosen and mine.filter(account_id=chosen).first()) or mine.order_by("created_at", "pk").first()


def account_page(*, section: str, roles: frozenset[Role] = EVERYONE) -> Callable[[Page], Page]:
    """Turn a view into a page of the account in use, in the account's time zone."""

    def wrap(view: Page) -> Page:
        @login_required
        @functools.wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            membership = membership_in_use(request)
            if membership is None:
                return redirect("dashboard:get_started")
            page = cast(AccountRequest, request)
            page.account, page.role = membership.account, Role(membership.role)
            page.section = section  # type: ignore[attr-defined]
            if page.role not in roles:
                raise PermissionDenied
            page.acting = membership.pk is None  # type: ignore[attr-defined]
            changes = page.acting and request.method not in SAFE  # type: ignore[attr-defined]
            with timezone.override(zone(page.account.time_zone)):
                response = _acted(page, view, *args, **kwargs) if changes else view(page, *args, **kwargs)
            response.headers.setdefault("Cache-Control", "private, no-store")
            return response

        return inner

    return wrap


def _acted(request: AccountRequest, view: Page, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """The view between two records: what staff asked for, and what it changed."""
    user, account, asked = request.user, request.account, f"{request.method} {request.path}"
    before = account_facts(account)
    acting_asked(by=user, account=account, asked=asked, now=timezone.now())
    response = view(request, *args, **kwargs)
    acting_changed(by=user, account=account, asked=asked, before=before, now=timezone.now())
    return response
