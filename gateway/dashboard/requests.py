"""The request log and one request's whole story: what was asked, when what happened, what it cost and why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import phrase_said
from accounts.models import Account
from accounts.selectors import keys_of
from billing.entitlements import plan_name
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.deleted import deleted_of
from gateway.dashboard.pictures import WORDS, Shown
from gateway.dashboard.usage_selection import moment_of
from gateway.dashboard.webhooks import answer_said
from gateway.ids import generation_id_floor
from gateway.models import SharedLink, WebhookAttempt
from gateway.services import generation_cancel
from gateway.services.deleting import call_delete
from gateway.services.retention import erased_after, keeps_for
from gateway.site.context import base_url
from gateway.site.samples import curl_call
from gateway.webhooks_out.schedule import is_taken
from inference.models import Generation, GenerationState, ImageModel

PER_PAGE = 50
WEBHOOK_TRIES_SHOWN = 20
STATES = [(state.value, WORDS[state]) for state in GenerationState]


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the log is shown, from the address."""

    state: str = ""
    model_id: str = ""
    key_id: int | None = None
    search: str = ""
    endpoint: str = ""
    start: datetime | None = None
    end: datetime | None = None

    @classmethod
    def parse(cls, request: AccountRequest) -> Filters:
        state, key = request.GET.get("state", ""), request.GET.get("key", "")
        zone = timezone.get_current_timezone()
        return cls(
            state=state if state in GenerationState.values else "",
            model_id=request.GET.get("model", "")[:120],
            key_id=int(key) if key.isdecimal() and len(key) < 19 else None,
            search=request.GET.get("q", "").strip()[:100],
            endpoint=request.GET.get("endpoint", "").strip()[:60],
            start=moment_of(request.GET.get("from"), zone),
            end=moment_of(request.GET.get("to"), zone),
        )

    def apply(self, rows: QuerySet[Generation]) -> QuerySet[Generation]:
        if self.state:
            rows = rows.filter(state=self.state)
        if self.model_id:
            rows = rows.filter(model_id=self.model_id)
        if self.key_id is not None:
            rows = rows.filter(key_id=self.key_id)
        if self.endpoint:
            rows = rows.filter(endpoint__icontains=self.endpoint)
        if self.start is not None:
            rows = rows.filter(pk__gte=generation_id_floor(self.start))
        if self.end is not None:
            rows = rows.filter(pk__lt=generation_id_floor(self.end))
        if self.search:
            rows = rows.filter(pk=int(self.search)) if _is_id(self.search) else rows.filter(track_id=self.search)
        return rows


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 19


def generations_of(account: Account) -> QuerySet[Generation]:
    """Newest first: ids grow with time."""
    return Generation.objects.filter(account_id=account.pk).order_by("-id")


@account_page(section="requests")
@require_safe
def request_log(request: AccountRequest) -> HttpResponse:
    """Keyset pages: `before` is the last id seen, so that page a thousand costs what page one does."""
    filters = Filters.parse(request)
    rows = filters.apply(generations_of(request.account)).defer("spec", "result", "reply")
    before = request.GET.get("before", "")
    if _is_id(before):
        rows = rows.filter(pk__lt=int(before))
    found = list(rows[: PER_PAGE + 1])
    shown = [Shown(row) for row in found[:PER_PAGE]]
    names = dict(keys_of(request.account).values_list("pk", "name"))
    context = {
        "filters": filters,
        "states": STATES,
        "key_names": sorted(names.items(), key=lambda item: item[1]),
        "rows": [(row, names.get(row.generation.key_id, "–")) for row in shown],
        "next_before": shown[-1].id if len(found) > PER_PAGE else None,
        "is_first": not before,
        "filter_query": request.GET.urlencode(),
        "is_filtered": filters != Filters(),
        "retention_days": retention_days(request.account),
    }
    fragment = getattr(request, "htmx", False)
    return render(request, "dashboard/request_rows.html" if fragment else "dashboard/requests.html", context)


def retention_days(account: Account) -> int:
    return settings.OUTPUT_RETENTION_DAYS if account.retention_days is None else account.retention_days


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a request's timeline."""

    text: str
    at: datetime
    after_ms: float | None


@account_page(section="requests")
@require_safe
def request_detail(request: AccountRequest, generation_id: int) -> HttpResponse:
    generation = call_of(request, generation_id)
    shown = Shown(generation, keeps_for(request.account))
    link = SharedLink.objects.filter(generation_id=generation.pk, revoked_at=None).first()
    context = {
        "shown": shown,
        "generation": generation,
        "key": keys_of(request.account).filter(pk=generation.key_id).first(),
        "timeline": timeline(generation),
        "path": path_of(generation),
        "plan_name": plan_name(generation.plan_code, generation.created_at),
        "asked": json.dumps(generation.asked, ensure_ascii=False, indent=2),
        "replay": curl_call(
            base_url=base_url(request), key="$API_KEY", body=generation.asked, path=path_of(generation)
        ),
        "notes": [phrase_said(note) for note in (generation.result or {}).get("notes", [])],
        "used": (generation.result or {}).get("used", {}),
        "may_change": request.role in MAKERS,
        "model": ImageModel.objects.filter(model_id=generation.model_id, published=True).first(),
        "deleted": deleted_of(request.account.pk, timezone.now()).filter(pk=generation.pk).first(),
        "link": link,
        "link_url": link and base_url(request) + reverse("site:shared", kwargs={"token": link.token}),
    }
    return render(request, "dashboard/request.html", context)


def path_of(generation: Generation) -> str:
    """Where the call was sent: endpoints are stored as the path table has them, below /api/."""
    return f"/api/{generation.endpoint}"


def timeline(generation: Generation) -> list[Moment]:
    """Received, started, ended, webhooks: each with the time since the one before."""
    ends = {
        GenerationState.SUCCEEDED: _("%(made)s of %(asked)s delivered")
        % {"made": generation.images_delivered, "asked": generation.images_requested},
        GenerationState.FAILED: _("Failed, nothing charged"),
        GenerationState.CANCELLED: _("Cancelled"),
    }
    started = _("Started on a render worker")
    if generation.attempt > 1:
        started = _("Started on a render worker (attempt %(number)s)") % {"number": generation.attempt}
    points: list[tuple[str, datetime | None]] = [
        (_("Received and held"), generation.created_at),
        (started, generation.started_at),
        (ends.get(GenerationState(generation.state), _("Ended")), generation.finished_at),
    ]
    tries = WebhookAttempt.objects.filter(delivery__generation_id=generation.pk).order_by("at")
    for attempt in tries[:WEBHOOK_TRIES_SHOWN] if generation.webhook_url else ():
        points.append((_webhook_told(attempt), attempt.at))
    moments: list[Moment] = []
    for text, at in points:
        if at is not None:
            before = moments[-1].at if moments else None
            moments.append(Moment(text, at, (at - before).total_seconds() * 1000 if before else None))
    return moments


def _webhook_told(attempt: WebhookAttempt) -> str:
    answer, _detail = answer_said(attempt)
    words = _("Webhook delivered: %(answer)s") if is_taken(attempt.status) else _("Webhook not delivered: %(answer)s")
    return words % {"answer": answer}


@account_page(section="requests", roles=MAKERS)
@require_POST
def request_cancel(request: AccountRequest, generation_id: int) -> HttpResponse:
    generation = call_of(request, generation_id)
    generation_cancel(account_id=request.account.pk, generation_id=generation.pk, now=timezone.now())
    return redirect("dashboard:request", generation_id=generation_id)


@account_page(section="requests", roles=MAKERS)
@require_POST
def request_delete(request: AccountRequest, generation_id: int) -> HttpResponse:
    """Delete the prompt and the pictures of one call; its accounting line stays. A script gets JSON."""
    call = call_of(request, generation_id)
    kept_until = erased_after(request.account, call.created_at)
    gone = call_delete(generation=call, kept_until=kept_until, now=timezone.now())
    if "application/json" in request.headers.get("Accept", ""):
        return JsonResponse({"status": "success", "deleted": gone})
    return redirect("dashboard:request", generation_id=generation_id)


def call_of(request: AccountRequest, generation_id: int) -> Generation:
    """The account's call of that id; 404 for a stranger's and for none."""
    if generation_id >= 2**63:
        raise Http404
    return get_object_or_404(generations_of(request.account), pk=generation_id)
