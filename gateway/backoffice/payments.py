"""Payments as the provider tells of them: the inbox of events, what is parked, and when the two were compared."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from billing.models import Dispute, EventCursor, EventState, Refund, StripeEvent, Subscription, TopUp
from billing.stripe_client import is_configured
from billing.stripe_events import events_retry
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
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
        "cursors": EventCursor.objects.order_by("mode"),
        "subscriptions": Subscription.objects.values("plan_code", "status").annotate(count=Count("pk")).order_by(),
        "top_ups": TopUp.objects.select_related("account").order_by("-pk")[:NEWEST],
        "refunds": Refund.objects.select_related("top_up__account").order_by("-pk")[:NEWEST],
        "disputes": Dispute.objects.select_related("account").order_by("-pk")[:NEWEST],
        "now": timezone.now(),
    }
    return console_render(request, "backoffice/payments.html", context)


@staff_page(section="payments", needs=Permission.FUNDS)
@require_POST
def events_retry_parked(request: StaffRequest) -> HttpResponse:
    """Put the chosen parked events back; each is recorded. The worker takes them within seconds."""
    form = ReasonForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nothing was changed: say why, in three letters or more.")
        return redirect("backoffice:payments")
    ids = [pk for text in request.POST.getlist("id")[:PER_PAGE] if (pk := _whole(text)) is not None]
    now = timezone.now()
    with transaction.atomic():
        moved = events_retry(ids=ids, now=now)
        for event in moved:
            staff_action_record(
                by=request.user,
                action="retry event",
                target=f"event:{event.event_id}",
                before={"state": event.state, "attempts": event.attempts, "problem": event.problem},
                after={"state": EventState.NEW.value, "attempts": 0},
                reason=form.cleaned_data["reason"],
                now=now,
            )
    messages.success(request, f"{len(moved)} of {len(ids)} are in the inbox again.")
    return redirect("backoffice:payments")
