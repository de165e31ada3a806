"""An account's team: members and their parts, invitations, joining and leaving, and the record of what was done."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.events import events_of
from accounts.mails import mail_send
from accounts.models import Invitation, Membership, Role, User
from accounts.teams import (
    TeamProblem,
    invitation_accept,
    invitation_create,
    invitation_find,
    invitation_withdraw,
    member_remove,
    member_role_set,
)
from gateway.api.parsing import client_address
from gateway.dashboard.access import EVERYONE, OWNERS, SESSION_ACCOUNT, AccountRequest, account_page
from gateway.services import account_open
from gateway.site.context import base_url

EVENTS_PER_PAGE = 50
WHAT_ROLES_MAY = (
    (Role.OWNER, _("Everything, with members, settings and closing the account")),
    (Role.DEVELOPER, _("Keys, pictures, webhooks; sees usage")),
    (Role.BILLING, _("Funds, plan and invoices; sees usage")),
    (Role.VIEWER, _("Looks at everything, changes nothing")),
)


class InviteForm(forms.Form):
    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.DEVELOPER)


@account_page(section="team", roles=EVERYONE)
@require_safe
def team(request: AccountRequest) -> HttpResponse:
    return _page(request, InviteForm())


def _page(request: AccountRequest, form: InviteForm, status: int = 200) -> HttpResponse:
    members = Membership.objects.filter(account=request.account).select_related("user").order_by("created_at", "pk")
    invitations = Invitation.objects.filter(account=request.account, expires_at__gt=timezone.now())
    context = {
        "members": members,
        "invitations": invitations.select_related("invited_by").order_by("created_at"),
        "form": form,
        "roles": Role.choices,
        "what_roles_may": [(role.label, text) for role, text in WHAT_ROLES_MAY],
        "may_change": request.role in OWNERS,
    }
    return render(request, "dashboard/team.html", context, status=status)


@account_page(section="team", roles=OWNERS)
@require_POST
def invite(request: AccountRequest) -> HttpResponse:
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _page(request, form, status=400)
    email, role = form.cleaned_data["email"], Role(form.cleaned_data["role"])
    try:
        with transaction.atomic():
            made = invitation_create(
                account=request.account,
                email=email,
                role=role,
                by=request.user,
                now=timezone.now(),
                address=client_address(request),
            )
            url = base_url(request) + reverse("dashboard:join", kwargs={"token": made.token})
            values = {"account": request.account.name, "by": request.user.email, "role": role.label, "url": url}
            mail_send(template="invitation", to=made.invitation.email, values=values, language=request.user.language)
    except TeamProblem as problem:
        form.add_error("email", str(problem))
        return _page(request, form, status=400)
    messages.success(request, gettext("The invitation is on its way to %(email)s.") % {"email": made.invitation.email})
    return redirect("dashboard:team")


@account_page(section="team", roles=OWNERS)
@require_POST
def withdraw(request: AccountRequest, invitation_id: int) -> HttpResponse:
    done = invitation_withdraw(
        account=request.account,
        invitation_id=invitation_id,
        by=request.user,
        now=timezone.now(),
        address=client_address(request),
    )
    if not done:
        raise Http404
    messages.success(request, gettext("The invitation was withdrawn: its link no longer works."))
    return redirect("dashboard:team")


@account_page(section="team", roles=OWNERS)
@require_POST
def member_change(request: AccountRequest, member_id: int) -> HttpResponse:
    role = request.POST.get("role", "")
    if role not in Role.values:
        raise Http404
    try:
        changed = member_role_set(
            account=request.account,
            member_id=member_id,
            role=Role(role),
            by=request.user,
            now=timezone.now(),
            address=client_address(request),
        )
    except TeamProblem as problem:
        messages.error(request, str(problem))
        return redirect("dashboard:team")
    if changed is None:
        raise Http404
    messages.success(request, gettext("Saved."))
    return redirect("dashboard:team")


@account_page(section="team", roles=EVERYONE)
@require_POST
def member_end(request: AccountRequest, member_id: int) -> HttpResponse:
    """Owners end anybody's membership; everybody their own."""
    mine = Membership.objects.filter(account=request.account, user=request.user, pk=member_id).exists()
    if not mine and request.role not in OWNERS:
        raise Http404
    try:
        done = member_remove(
            account=request.account,
            member_id=member_id,
            by=request.user,
            now=timezone.now(),
            address=client_address(request),
        )
    except TeamProblem as problem:
        messages.error(request, str(problem))
        return redirect("dashboard:team")
    if not done:
        raise Http404
    if mine:
        request.session.pop(SESSION_ACCOUNT, None)
        messages.success(request, gettext("You left %(account)s.") % {"account": request.account.name})
        return redirect("dashboard:home")
    messages.success(request, gettext("The person has no access any more. Keys that they made belong to the account."))
    return redirect("dashboard:team")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind an invitation's link. Looking at it changes nothing; the button joins."""
    assert isinstance(request.user, User)
    problem = ""
    found = invitation_find(token=token, now=timezone.now())
    if request.method == "POST":
        try:
            member = invitation_accept(
                token=token, user=request.user, now=timezone.now(), address=client_address(request)
            )
            request.session[SESSION_ACCOUNT] = member.account_id
            messages.success(request, gettext("Welcome to %(account)s.") % {"account": member.account.name})
            return redirect("dashboard:home")
        except TeamProblem as refused:
            problem = str(refused)
    elif found and found.email != request.user.email.lower():
        problem = gettext("This invitation is for %(email)s: log in with that address.") % {"email": found.email}
    context = {"invitation": found, "problem": problem, "section": "team"}
    return render(request, "dashboard/join.html", context, status=200 if found else 404)


@login_required
@require_POST
def account_new(request: HttpRequest) -> HttpResponse:
    """An account of one's own, for somebody who came by an invitation. One each: free calls are per account."""
    assert isinstance(request.user, User)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=request.user.pk)
        if Membership.objects.filter(user=request.user, role=Role.OWNER).exists():
            messages.error(request, gettext("You own an account already."))
            return redirect("dashboard:profile")
        account, _key = account_open(owner=request.user, now=timezone.now(), key_name="First key")
    request.session[SESSION_ACCOUNT] = account.pk
    messages.success(request, gettext("Your account is open. Its first key waits to be rolled, or make another one."))
    return redirect("dashboard:keys")


@account_page(section="team", roles=OWNERS)
@require_safe
def events(request: AccountRequest) -> HttpResponse:
    """The record of the account, newest first."""
    page = Paginator(events_of(request.account), EVENTS_PER_PAGE).get_page(request.GET.get("page"))
    page.shown = list(page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))  # type: ignore[attr-defined]
    return render(request, "dashboard/events.html", {"page": page})
