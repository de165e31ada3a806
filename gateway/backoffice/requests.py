"""The request log over all accounts, in keyset pages, and one call's story. It shows no body that is not kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import QuerySet
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account, ApiKey
from billing.entitlements import plan_name
from billing.models import Hold, LedgerEntry
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.navigation import console_render
from gateway.dashboard.pictures import PAID_BY, Shown
from gateway.dashboard.requests import STATES, path_of, retention_days, timeline
from gateway.dashboard.requests_csv import COLUMNS, csv_answer
from gateway.dashboard.usage_selection import moment_of
from gateway.ids import generation_id_floor
from gateway.models import StaffAction, WebhookDelivery, WebhookReceiver
from inference.models import Generation, GenerationState, RenderFault, RenderWorker

PER_PAGE = 50
# What no index answers is looked for in this many calls at a time: a page costs the same whatever is asked for.
SCANNED_MAX = 20_000
CSV_CALLS_MAX = 100_000


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the log is shown, from the address. Moments are in UTC."""

    state: str
    model_id: str
    account_id: int | None
    key_id: int | None
    endpoint: str
    worker: str
    error_code: str
    paid_by: str
    track_id: str
    start: datetime | None
    end: datetime | None
    generation_id: int | None

    @classmethod
    def parse(cls, request: StaffRequest) -> Filters:
        def text(name: str) -> str:
            return request.GET.get(name, "").strip()[:120]

        return cls(
            state=text("state") if text("state") in GenerationState.values else "",
            model_id=text("model"),
            account_id=_whole(text("account")),
            key_id=_whole(text("key")),
            endpoint=text("endpoint"),
            worker=text("worker"),
            error_code=text("error"),
            paid_by=text("paid") if text("paid") in PAID_BY else "",
            track_id=text("track"),
            start=moment_of(text("from"), UTC),
            end=moment_of(text("to"), UTC),
            generation_id=_whole(text("q")),
        )

    @property
    def chosen(self) -> dict[str, str | int]:
        """The conditions, by column."""
        asked: dict[str, str | int | None] = {
            "pk": self.generation_id,
            "state": self.state,
            "model_id": self.model_id,
            "account_id": self.account_id,
            "key_id": self.key_id,
            "endpoint": self.endpoint,
            "worker": self.worker,
            "error_code": self.error_code,
            "funding": self.paid_by,
            "track_id": self.track_id,
            "pk__gte": generation_id_floor(self.start) if self.start else None,
            "pk__lt": generation_id_floor(self.end) if self.end else None,
        }
        return {name: value for name, value in asked.items() if value not in (None, "")}  # type: ignore[misc]

    @property
    def unindexed(self) -> bool:
        """Whether rows must be read to know whether they fit: ids, times and accounts are found by an index."""
        return bool(set(self.chosen) - {"pk", "pk__gte", "pk__lt", "account_id"}) and self.generation_id is None

    def floor(self, before: int | None, *, calls: int) -> int | None:
        """The id down to which so many calls of this time and account lie, from `before` on; None when that is all."""
        ids = Generation.objects.order_by("-id").values_list("pk", flat=True)
        reach = {name: value for name, value in self.chosen.items() if name in ("account_id", "pk__gte", "pk__lt")}
        ids = ids.filter(**reach)
        ids = ids.filter(pk__lt=before) if before is not None else ids
        return next(iter(ids[calls : calls + 1]), None)

    def apply(self, rows: QuerySet[Generation]) -> QuerySet[Generation]:
        return rows.filter(**self.chosen)


@staff_page(section="requests", needs=Permission.LOOK)
@require_safe
def request_log(request: StaffRequest) -> HttpResponse:
    """Keyset pages by id, which grows with time: `before` is the last id seen. No bodies are read."""
    filters = Filters.parse(request)
    rows = filters.apply(Generation.objects.order_by("-id")).defer("spec", "asked", "result", "reply")
    before = _whole(request.GET.get("before", ""))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    floor = filters.floor(before, calls=SCANNED_MAX) if filters.unindexed else None
    found = list((rows if floor is None else rows.filter(pk__gte=floor))[: PER_PAGE + 1])
    shown = [Shown(row) for row in found[:PER_PAGE]]
    older = shown[-1].id if len(found) > PER_PAGE else floor
    accounts = {row.account_id for row in found}
    context = {
        "filters": filters,
        "is_filtered": bool(filters.chosen),
        "states": STATES,
        "paid_by": PAID_BY.items(),
        "rows": shown,
        "names": dict(Account.objects.filter(pk__in=accounts).values_list("pk", "name")),
        "next_before": older,
        "searched_only": older == floor is not None,
    }
    return console_render(request, "backoffice/requests.html", context)


@staff_page(section="requests", needs=Permission.LOOK)
@require_safe
def requests_csv(request: StaffRequest) -> StreamingHttpResponse:
    """What the filters leave of the newest calls of that time and account, streamed."""
    filters = Filters.parse(request)
    rows, floor = filters.apply(Generation.objects.order_by("-id")), filters.floor(None, calls=CSV_CALLS_MAX)
    return csv_answer(rows if floor is None else rows.filter(pk__gt=floor), {"account": "account_id", **COLUMNS})


@staff_page(section="requests", needs=Permission.LOOK)
@require_safe
def request_detail(request: StaffRequest, generation_id: int) -> HttpResponse:
    if generation_id >= 2**63:
        raise Http404
    generation = get_object_or_404(Generation, pk=generation_id)
    account = get_object_or_404(Account, pk=generation.account_id)
    kept = retention_days(account) > 0
    context = {
        "shown": Shown(generation),
        "generation": generation,
        "owner": account,
        "key": ApiKey.objects.filter(pk=generation.key_id).first(),
        "path": path_of(generation),
        "worker_known": RenderWorker.objects.filter(pk=generation.worker).exists(),
        "plan": plan_name(generation.plan_code, generation.created_at),
        "timeline": timeline(generation),
        "hold": Hold.objects.filter(pk=generation.pk).first(),
        "entries": LedgerEntry.objects.filter(op_key=f"capture:{generation.pk}"),
        "faults": RenderFault.objects.filter(generation_id=generation.pk).order_by("attempt"),
        "asked": json.dumps(generation.asked, ensure_ascii=False, indent=2) if kept else "",
        "done": StaffAction.objects.filter(target=f"generation:{generation.pk}")
        .select_related("actor")
        .order_by("-id"),
    }
    return console_render(request, "backoffice/request.html", context)


@staff_page(section="requests", needs=Permission.LOOK)
@require_safe
def webhooks(request: StaffRequest) -> HttpResponse:
    """Receivers that fail, and the newest deliveries that did not get through."""
    failing = list(WebhookReceiver.objects.filter(failures_in_row__gt=0).order_by("failing_since")[:100])
    recent = WebhookDelivery.objects.order_by("-id").values_list("pk", flat=True)[:1000]
    undelivered = WebhookDelivery.objects.filter(pk__in=list(recent)).exclude(state="delivered").order_by("-id")[:50]
    accounts = {row.account_id for row in failing} | {row.account_id for row in undelivered}
    context = {
        "failing": failing,
        "undelivered": undelivered,
        "names": dict(Account.objects.filter(pk__in=accounts).values_list("pk", "name")),
        "now": timezone.now(),
    }
    return console_render(request, "backoffice/webhooks.html", context)
