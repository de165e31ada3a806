"""Payments as the provider tells of them: the inbox of events, what is parked, and when the two were compared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from billing.models import (
    Dispute,
    EventCursor,
    EventState,
    ExportState,
    FeeCursor,
    Refund,
    StripeEvent,
    Subscription,
    TopUp,
    UsageExport,
)
from billing.stripe_client import is_configured
from billing.stripe_events import events_retry
from billing.usage_export import exports_retry
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.customers import plan_choices
from gateway.backoffice.forms import ReasonForm
from gateway.backoffice.navigation import console_render

PER_PAGE = 50
NEWEST = 20


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


@staff_page(section="payments", needs=Permission.MONEY)
@require_safe
def payments(request: StaffRequest) -> HttpResponse:
    """The inbox in keyset pages, newest first; `state` and `type` filter it."""
    now = timezone.now()
    state, kind = request.GET.get("state", ""), request.GET.get("type", "").strip()[:80]
    rows = StripeEvent.objects.order_by("-pk").defer("body")
    rows = rows.filter(state=state) if state in EventState.values else rows
    rows = rows.filter(type=kind) if kind else rows
    before = _whole(request.GET.get("before", ""))
    found = list((rows.filter(pk__lt=before) if before is not None else rows)[: PER_PAGE + 1])
    counts = dict(StripeEvent.objects.values_list("state").annotate(Count("pk")).order_by())
    context: dict[str, Any] = {
        "configured": is_configured(),
        "state": state,
        "kind": kind,
        "states": EventState.choices,
        "counts": [(label, counts.get(value, 0), value) for value, label in EventState.choices],
        "events": found[:PER_PAGE],
        "next_before": found[PER_PAGE - 1].pk if len(found) > PER_PAGE else None,
        "parked": counts.get(EventState.PARKED, 0),
        "exports": UsageExport.objects.filter(state=ExportState.PARKED).order_by("pk")[:PER_PAGE],
        "fees": FeeCursor.objects.order_by("mode"),
        "cursors": EventCursor.objects.order_by("mode"),
        "subscriptions": subscriptions_counted(now),
        "top_ups": TopUp.objects.select_related("account").order_by("-pk")[:NEWEST],
        "refunds": Refund.objects.select_related("top_up__account").order_by("-pk")[:NEWEST],
        "disputes": Dispute.objects.select_related("account").order_by("-pk")[:NEWEST],
        "now": now,
    }
    return console_render(request, "backoffice/payments.html", context)


def subscriptions_counted(now: datetime) -> list[tuple[str, str, int]]:
    """How many of each plan are in which state of the provider's."""
    names = dict(plan_choices(now)) | {"": "Unknown plan"}
    rows = Subscription.objects.values_list("plan_code", "status").annotate(count=Count("pk"))
    return [(names.get(code, code), status, count) for code, status, count in rows.order_by("plan_code", "status")]


@staff_page(section="payments", needs=Permission.FUNDS)
@require_POST
def events_retry_parked(request: StaffRequest) -> HttpResponse:
    """Put the chosen parked events back. The worker takes them within seconds."""
    return _retried(request, "event", "inbox", events_retry, lambda row: (row.event_id, {"attempts": row.attempts}))


@staff_page(section="payments", needs=Permission.FUNDS)
@require_POST
def exports_retry_parked(request: StaffRequest) -> HttpResponse:
    """Put the chosen parked reports of usage back."""
    return _retried(request, "export", "outbox", exports_retry, lambda row: (row.op_key, {}))


def _retried(
    request: StaffRequest,
    kind: str,
    place: str,
    retry: Callable[..., list[Any]],
    told: Callable[[Any], tuple[str, dict[str, Any]]],
) -> HttpResponse:
    """`told` names a row and says what of it stood besides its state; each row that moved is recorded."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was changed: say why, in three letters or more.")
        return redirect("backoffice:payments")
    ids = [pk for text in request.POST.getlist("id")[:PER_PAGE] if (pk := _whole(text)) is not None]
    now = timezone.now()
    with transaction.atomic():
        moved = retry(ids=ids, now=now)
        for row in moved:
            name, facts = told(row)
            staff_action_record(
                by=request.user,
                action=f"retry {kind}",
                target=f"{kind}:{name}",
                before={"state": row.state, "problem": row.problem} | facts,
                after={"state": "new"},
                reason=form.cleaned_data["reason"],
                now=now,
            )
    messages.success(request, f"{len(moved)} of {len(ids)} are in the {place} again.")
    return redirect("backoffice:payments")
