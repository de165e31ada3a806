"""Money as the books have it, the proof of the books, the record of staff actions, and who has which role."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import Account, User
from accounts.staff import StaffRole, staff_everyone, staff_roles_of
from billing.models import EntryKind, LedgerEntry, Wallet
from gateway.audit import audit_keep
from gateway.backoffice import actions
from gateway.backoffice.access import GRANTS, Permission, StaffRequest, staff_page
from gateway.backoffice.forms import StaffForm
from gateway.backoffice.navigation import console_render
from gateway.models import AuditRun, StaffAction

PER_PAGE = 50


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


@staff_page(section="money", needs=Permission.MONEY)
@require_safe
def money(request: StaffRequest) -> HttpResponse:
    """The ledger in keyset pages; captures only when they are asked for, as they are nearly all of it."""
    kind, account_id = request.GET.get("kind", ""), _whole(request.GET.get("account", ""))
    kind = kind if kind in (*EntryKind.values, "all") else ""
    entries = ledger_page(kind=kind, account_id=account_id, before=_whole(request.GET.get("before", "")))
    found = list(entries[: PER_PAGE + 1])
    context = {
        "kind": kind,
        "kinds": EntryKind.choices,
        "account_id": account_id,
        "entries": found[:PER_PAGE],
        "next_before": found[PER_PAGE - 1].pk if len(found) > PER_PAGE else None,
        "owed": owed(),
        "run": AuditRun.objects.order_by("-id").first(),
        "names": _names([entry.wallet_id for entry in found]),
        "now": timezone.now(),
    }
    return console_render(request, "backoffice/money.html", context)


def ledger_page(*, kind: str, account_id: int | None, before: int | None) -> QuerySet[LedgerEntry]:
    entries = LedgerEntry.objects.select_related("made_by").order_by("-id")
    if kind == "":
        entries = entries.exclude(kind=EntryKind.CAPTURE)
    elif kind != "all":
        entries = entries.filter(kind=kind)
    if account_id is not None:
        entries = entries.filter(wallet_id=account_id)
    return entries.filter(pk__lt=before) if before is not None else entries


def owed() -> dict[str, Any]:
    """What customers could still spend, and what is reserved of it: the operator's liability."""
    return Wallet.objects.aggregate(
        balance=Sum("balance_microusd"), held=Sum("held_microusd"), arrears=Count("pk", filter=Q(in_arrears=True))
    )


def _names(account_ids: list[int]) -> dict[int, str]:
    return dict(Account.objects.filter(pk__in=account_ids).values_list("pk", "name"))


@staff_page(section="money", needs=Permission.MONEY)
@require_POST
def audit_prove(request: StaffRequest) -> HttpResponse:
    """Prove the books now and keep the result."""
    now = timezone.now()
    with transaction.atomic():
        run = audit_keep(now=now)
        actions.staff_action_record(
            by=request.user,
            action="prove books",
            target=f"audit:{run.pk}",
            after={"differences": run.differences},
            now=now,
        )
    if run.differences:
        messages.error(request, f"{run.differences} differences.")
    else:
        messages.success(request, "0 differences.")
    return redirect("backoffice:money")


@staff_page(section="records", needs=Permission.RECORDS)
@require_safe
def records(request: StaffRequest) -> HttpResponse:
    rows = StaffAction.objects.select_related("actor").order_by("-id")
    target, action = request.GET.get("target", "")[:140], request.GET.get("action", "")[:40]
    who, before = _whole(request.GET.get("who", "")), _whole(request.GET.get("before", ""))
    asked: dict[str, Any] = {"target": target, "action": action, "actor_id": who}
    rows = rows.filter(**{name: value for name, value in asked.items() if value})
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PER_PAGE + 1])
    context = {
        "rows": found[:PER_PAGE],
        "target": target,
        "action": action,
        "who": who,
        "next_before": found[PER_PAGE - 1].pk if len(found) > PER_PAGE else None,
    }
    return console_render(request, "backoffice/records.html", context)


@staff_page(section="staff", needs=Permission.RECORDS)
@require_http_methods(["GET", "HEAD", "POST"])
def staff(request: StaffRequest) -> HttpResponse:
    form = StaffForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _staff_changed(request, form):
        return redirect("backoffice:staff")
    people = [(user, sorted(role.label for role in staff_roles_of(user))) for user in staff_everyone()]
    roles = [(role.label, sorted(permission.value for permission in GRANTS[role])) for role in StaffRole]
    context = {"form": form, "people": people, "roles": roles}
    return console_render(request, "backoffice/staff.html", context)


def _staff_changed(request: StaffRequest, form: StaffForm) -> bool:
    user = User.objects.filter(email=form.cleaned_data["email"].lower()).first()
    if user is None:
        form.add_error("email", "Nobody has signed up with this address.")
        return False
    try:
        actions.staff_change(
            user=user,
            roles=form.parts(),
            reason=form.cleaned_data["reason"],
            by=request.user,
            now=timezone.now(),
        )
    except actions.LastOwner as problem:
        form.add_error("roles", type(problem).__doc__ or "")
        return False
    messages.success(request, f"{user.email} has changed roles.")
    return True
