"""Webhooks: the secrets that sign, deliveries with every attempt, sending again, a test, and paused receivers."""

from __future__ import annotations

import json

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import DomainError, reason_said
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookReceiver
from gateway.webhooks_out import (
    secret_text,
    webhook_receiver_resume,
    webhook_resend,
    webhook_secret_rotate,
    webhook_secrets,
    webhook_test,
)

SHOWN = 50
TONES = {
    DeliveryState.PENDING: "busy",
    DeliveryState.DELIVERED: "ok",
    DeliveryState.FAILED: "bad",
    DeliveryState.PAUSED: "warn",
}


@account_page(section="webhooks")
@require_safe
def webhooks(request: AccountRequest) -> HttpResponse:
    """A secret is shown only to who may change it: with it, anybody could pretend to be us."""
    may_change = request.role in MAKERS
    secrets = webhook_secrets(account_id=request.account.pk, now=timezone.now()) if may_change else []
    state = request.GET.get("state", "")
    found = _mine(request)
    if state in DeliveryState.values:
        found = found.filter(state=state)
    context = {
        "may_change": may_change,
        "secrets": [(secret_text(secret), secret.expires_at) for secret in secrets],
        "rows": [(row, TONES[DeliveryState(row.state)]) for row in found.defer("body")[:SHOWN]],
        "paused": WebhookReceiver.objects.filter(account_id=request.account.pk).exclude(paused_at=None),
        "states": DeliveryState.choices,
        "state": state,
    }
    return render(request, "dashboard/webhooks.html", context)


@account_page(section="webhooks")
@require_safe
def delivery(request: AccountRequest, delivery_id: int) -> HttpResponse:
    found = get_object_or_404(_mine(request), pk=delivery_id)
    attempts = list(found.tries.order_by("-at"))
    # Counted when it begins, logged when it ends: until then the row's next time is its lease's end.
    under_way = found.attempts > (attempts[0].number if attempts else 0)
    context = {
        "delivery": found,
        "tone": TONES[DeliveryState(found.state)],
        "attempts": [(attempt, *answer_said(attempt)) for attempt in attempts],
        "under_way": under_way,
        "body": body_laid_out(found.body),
        "may_change": request.role in MAKERS,
    }
    return render(request, "dashboard/webhook.html", context)


def body_laid_out(body: str) -> str:
    """What was sent, a field to a line; as it is where it is no JSON."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body


def answer_said(attempt: WebhookAttempt) -> tuple[str, str]:
    """How an attempt ended, in the reader's language, and what a library said of it."""
    if attempt.status is not None:
        return _("answered %(status)s") % {"status": attempt.status}, ""
    return reason_said(attempt.error)


def _mine(request: AccountRequest) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(account_id=request.account.pk).order_by("-id")


@account_page(section="webhooks", roles=MAKERS)
@require_POST
def delivery_resend(request: AccountRequest, delivery_id: int) -> HttpResponse:
    try:
        webhook_resend(account_id=request.account.pk, delivery_id=delivery_id, now=timezone.now())
    except DomainError as problem:
        raise Http404 from problem
    messages.success(request, _("It is on its way again."))
    return redirect("dashboard:webhook", delivery_id=delivery_id)


@account_page(section="webhooks", roles=MAKERS)
@require_POST
def test_send(request: AccountRequest) -> HttpResponse:
    try:
        queued = webhook_test(
            account_id=request.account.pk, url=request.POST.get("url", "").strip(), now=timezone.now()
        )
    except DomainError as problem:
        messages.error(request, problem.said)
        return redirect("dashboard:webhooks")
    return redirect("dashboard:webhook", delivery_id=queued.pk)


@account_page(section="webhooks", roles=MAKERS)
@require_POST
def secret_rotate(request: AccountRequest) -> HttpResponse:
    webhook_secret_rotate(account_id=request.account.pk, now=timezone.now())
    messages.success(request, _("The new secret signs from now on; the former one signs beside it for 24 hours."))
    return redirect("dashboard:webhooks")


@account_page(section="webhooks", roles=MAKERS)
@require_POST
def receiver_resume(request: AccountRequest) -> HttpResponse:
    origin = request.POST.get("origin", "")
    due = webhook_receiver_resume(account_id=request.account.pk, origin=origin, now=timezone.now())
    told = ngettext("One waiting delivery is on its way.", "%(count)s waiting deliveries are on their way.", due)
    messages.success(request, told % {"count": due})
    return redirect("dashboard:webhooks")
