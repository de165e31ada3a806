"""The account's settings and the person's own, taking all data along, closing the account, and leaving for good."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_ratelimit.core import is_ratelimited

from accounts.events import event_record
from accounts.models import Account, Membership, Role, User
from accounts.selectors import membership_of
from gateway.api.parsing import client_address
from gateway.dashboard.access import EVERYONE, OWNERS, SESSION_ACCOUNT, AccountRequest, account_page
from gateway.dashboard.export import account_zip
from gateway.dashboard.forms import PersonForm, ProfileForm
from gateway.services.closing import ClosingRefused, account_close, closing_obstacle, person_leave
from gateway.site.context import THEME_COOKIE

EXPORT_RATE = "10/h"


@account_page(section="profile", roles=EVERYONE)
@require_safe
def profile(request: AccountRequest) -> HttpResponse:
    return _page(request, ProfileForm.of(request.account), PersonForm.of(request.user))


def _page(request: AccountRequest, form: ProfileForm, person: PersonForm, status: int = 200) -> HttpResponse:
    mine = Membership.objects.filter(user=request.user).select_related("account").order_by("created_at")
    may_change = request.role in OWNERS
    for field in form.fields.values():
        field.disabled = not may_change
    context = {
        "form": form,
        "person": person,
        "may_change": may_change,
        "memberships": mine,
        "owns_one": any(membership.role == Role.OWNER for membership in mine),
    }
    return render(request, "dashboard/profile.html", context, status=status)


@account_page(section="profile", roles=OWNERS)
@require_POST
def account_save(request: AccountRequest) -> HttpResponse:
    form = ProfileForm(request.POST)
    if not form.is_valid():
        return _page(request, form, PersonForm.of(request.user), status=400)
    before = {name: getattr(request.account, name) for name in form.cleaned_data}
    changed = [name for name, value in form.cleaned_data.items() if value != before[name]]
    if changed:
        Account.objects.filter(pk=request.account.pk).update(**form.cleaned_data)
        _note(request, "changed settings:", ", ".join(changed).replace("_", " "))
    messages.success(request, gettext("Saved."))
    return redirect("dashboard:profile")


@account_page(section="profile", roles=EVERYONE)
@require_POST
def person_save(request: AccountRequest) -> HttpResponse:
    form = PersonForm(request.POST)
    if not form.is_valid():
        return _page(request, ProfileForm.of(request.account), form, status=400)
    User.objects.filter(pk=request.user.pk).update(**form.cleaned_data)
    messages.success(request, gettext("Saved."))
    response = redirect("dashboard:profile")
    response.set_cookie(THEME_COOKIE, form.cleaned_data["theme"], max_age=365 * 24 * 3600, samesite="Lax")
    # The profile decides from now on, not what this browser was told before.
    response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
    return response


@account_page(section="profile")
@require_POST
def account_choose(request: AccountRequest) -> HttpResponse:
    """Look at another of one's accounts."""
    asked = request.POST.get("account", "")
    if not asked.isdecimal() or membership_of(user=request.user, account_id=int(asked)) is None:
        raise Http404
    request.session[SESSION_ACCOUNT] = int(asked)
    return redirect("dashboard:home")


@account_page(section="profile", roles=OWNERS)
@require_POST
def export(request: AccountRequest) -> HttpResponse | StreamingHttpResponse:
    """All data of the account as a ZIP."""
    by_account = lambda group, request: str(request.account.pk)  # noqa: E731 - django-ratelimit asks for a function
    if is_ratelimited(request, group="export", key=by_account, rate=EXPORT_RATE, increment=True):
        messages.error(request, gettext("That is ten exports within an hour: try again later."))
        return redirect("dashboard:profile")
    _note(request, "exported all data")
    response = StreamingHttpResponse(account_zip(request.account), content_type="application/zip")
    name = f"{slugify(request.account.name) or 'account'}-{timezone.now():%Y-%m-%d}.zip"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@account_page(section="profile", roles=OWNERS)
@require_http_methods(["GET", "HEAD", "POST"])
@reauthentication_required  # type: ignore[untyped-decorator]
def close(request: AccountRequest) -> HttpResponse:
    """Asks for the password again (or what the person logs in with), and for the account's name."""
    problem = closing_obstacle(request.account)
    if request.method == "POST" and not problem:
        if request.POST.get("name", "").strip() != request.account.name:
            problem = gettext("That is not the account's name.")
        else:
            try:
                account_close(account=request.account, now=timezone.now())
            except ClosingRefused as refused:
                problem = str(refused)
            else:
                return _gone(request, gettext("The account is closed, and its content is being deleted."))
    context = {"problem": problem, "obstacle": closing_obstacle(request.account)}
    return render(request, "dashboard/close.html", context, status=400 if request.method == "POST" else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@reauthentication_required  # type: ignore[untyped-decorator]
def leave(request: HttpRequest) -> HttpResponse:
    """A person's own end: log-in, addresses and memberships. Accounts with other owners go on."""
    assert isinstance(request.user, User)
    problem = ""
    if request.method == "POST":
        try:
            person_leave(user=request.user)
        except ClosingRefused as refused:
            problem = str(refused)
        else:
            return _gone(request, gettext("Your log-in is deleted."))
    context = {"problem": problem, "section": "profile"}
    return render(request, "dashboard/leave.html", context, status=400 if problem else 200)


def _gone(request: HttpRequest, words: str) -> HttpResponse:
    """Out, unless the person is still somebody here."""
    pk = request.user.pk  # None once deleted
    if pk is None or not User.objects.filter(pk=pk, is_active=True).exists():
        logout(request)
    request.session.pop(SESSION_ACCOUNT, None)
    messages.success(request, words)
    return redirect("site:home")


def _note(request: AccountRequest, action: str, target: str = "") -> None:
    event_record(
        account=request.account,
        actor=request.user,
        action=action,
        target=target,
        address=client_address(request),
        now=timezone.now(),
    )
