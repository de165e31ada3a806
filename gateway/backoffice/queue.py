"""What waits and runs, per model and priority, what keeps failing, and what operations do to it, singly or in bulk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError

from accounts.models import Account
from billing.models import UsageBucket
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.navigation import console_render
from gateway.dashboard.pictures import Shown
from gateway.services import generation_cancel
from gateway.wakeups import dispatcher_wake
from inference import render_control
from inference.models import UNSETTLED, Generation, GenerationState, RenderFault
from inference.selectors import workers_alive
from inference.states import generation_requeue

RATE_OVER = timedelta(minutes=60)
LISTED_MAX = 100
# Of all that fit, so many in one go: each is a transaction, and somebody waits for the page.
BULK_MAX = 200
FAILED_SHOWN = POISON_SHOWN = 20
POISON_ATTEMPTS = 2
PRIORITIES = (("10", "Before all others"), ("5", "Raised"), ("0", "Normal"), ("-5", "After the others"))


@dataclass(frozen=True, slots=True)
class Line:
    """The queue of one model in one priority. Rates are the model's, in calls a minute over the last hour; `rows` is
    how many rows its forwards had lately, None where no worker says so."""

    model_id: str
    priority: int
    first: bool
    waiting: int
    running: int
    oldest_s: float
    arrived_per_min: float
    served_per_min: float
    predicted_wait_s: float | None
    rows: float | None
    rows_max: int

    @property
    def priority_words(self) -> str:
        return dict(PRIORITIES).get(str(self.priority), str(self.priority))


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the living workers report together."""

    slots: int
    rows: dict[str, float]
    rows_max: int

    @classmethod
    def now(cls) -> Fleet:
        slots, rows_max, told = 0, 0, dict[str, list[float]]()
        for count, report in workers_alive().values_list("slots", "report"):
            slots += count
            rows_max = max(rows_max, report.get("max_rows") or 0)
            for model_id, rows in report.get("rows_per_forward", {}).items():
                told.setdefault(model_id, []).append(rows)
        return cls(slots, {model_id: sum(rows) / len(rows) for model_id, rows in told.items()}, rows_max)


def lines(now: datetime) -> list[Line]:
    """Per model with anything in it, the first priority first. The wait of one more call is what waits before it over
    what was served lately."""
    unsettled = Generation.objects.filter(state__in=UNSETTLED).values("model_id", "priority")
    counted = unsettled.annotate(
        waiting=Count("pk", filter=Q(state=GenerationState.WAITING)),
        running=Count("pk", filter=Q(state=GenerationState.RUNNING)),
        oldest=Min("created_at", filter=Q(state=GenerationState.WAITING)),
    ).order_by("model_id", "-priority")
    by_model: dict[str, list[dict[str, Any]]] = {}
    for row in counted:
        by_model.setdefault(row["model_id"], []).append(row)
    lately = UsageBucket.objects.filter(bucket__gt=now - RATE_OVER).values("model_id")
    served = {
        row["model_id"]: (row["made"], row["ran"])
        for row in lately.annotate(made=Sum("calls"), ran=Sum("run_ms")).order_by()
    }
    fleet = Fleet.now()
    return [
        line
        for model_id, rows in by_model.items()
        for line in _lines_of(rows, *served.get(model_id, (0, 0)), fleet=fleet, now=now)
    ]


def _lines_of(rows: list[dict[str, Any]], made: int, ran_ms: int, *, fleet: Fleet, now: datetime) -> list[Line]:
    minutes = RATE_OVER.total_seconds() / 60
    per_call_s = ran_ms / made / 1000 if made and ran_ms else None
    # Everything that arrived was served or is still here.
    arrived = made + sum(row["waiting"] + row["running"] for row in rows)
    found, before = [], 0
    for row in rows:
        before += row["waiting"]
        found.append(
            Line(
                model_id=row["model_id"],
                priority=row["priority"],
                first=row is rows[0],
                waiting=row["waiting"],
                running=row["running"],
                oldest_s=(now - row["oldest"]).total_seconds() if row["oldest"] else 0.0,
                arrived_per_min=arrived / minutes,
                served_per_min=made / minutes,
                predicted_wait_s=before * per_call_s / fleet.slots if per_call_s and fleet.slots else None,
                rows=fleet.rows.get(row["model_id"]),
                rows_max=fleet.rows_max,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the queue is meant, from the address or from a form."""

    model_id: str
    account_id: int | None

    @classmethod
    def parse(cls, values: Any) -> Filters:
        account = values.get("account", "").strip()
        return cls(values.get("model", "")[:120], int(account) if account.isdecimal() and len(account) < 19 else None)

    def apply(self, rows: QuerySet[Generation]) -> QuerySet[Generation]:
        rows = rows.filter(model_id=self.model_id) if self.model_id else rows
        return rows.filter(account_id=self.account_id) if self.account_id is not None else rows


@staff_page(section="queue", needs=Permission.LOOK)
@require_safe
def queue(request: StaffRequest) -> HttpResponse:
    now, filters = timezone.now(), Filters.parse(request.GET)
    rows = filters.apply(Generation.objects.filter(state__in=UNSETTLED)).order_by("-state", "-priority", "created_at")
    listed = list(rows.defer("spec", "asked", "result")[:LISTED_MAX])
    failed = Generation.objects.filter(state=GenerationState.FAILED, pk__in=_newest_ids())
    failures = list(failed.defer("spec", "asked", "result").order_by("-id")[:FAILED_SHOWN])
    poison = poison_ids(now)
    calls = {row.pk: row for row in Generation.objects.filter(pk__in=poison).defer("spec", "asked", "result")}
    faults = faults_of([*poison, *(row.pk for row in failures)])
    everyone = {row.account_id for row in (*listed, *failures, *calls.values())}
    context = {
        "lines": lines(now),
        "listed": [Shown(row) for row in listed],
        "cut": len(listed) == LISTED_MAX,
        "poison": [(Shown(calls[pk]), faults[pk]) for pk in poison if pk in calls],
        "failures": [(Shown(row), faults.get(row.pk, [])) for row in failures],
        "names": dict(Account.objects.filter(pk__in=everyone).values_list("pk", "name")),
        "priorities": PRIORITIES,
        "filters": filters,
        "bulk_max": BULK_MAX,
        "now": now,
    }
    return console_render(request, "backoffice/queue.html", context)


def _newest_ids() -> list[int]:
    """Failures are looked for among the newest thousand: no index has them, and older ones are in the log."""
    return list(Generation.objects.order_by("-id").values_list("pk", flat=True)[:1000])


def poison_ids(now: datetime) -> list[int]:
    """Calls of which several attempts came to nothing in the days that faults are kept, the latest first."""
    counted = RenderFault.objects.values("generation_id").annotate(attempts=Count("pk"), last=Max("at"))
    worst = counted.filter(attempts__gte=POISON_ATTEMPTS).order_by("-last")
    return list(worst.values_list("generation_id", flat=True)[:POISON_SHOWN])


def faults_of(generation_ids: list[int]) -> dict[int, list[RenderFault]]:
    """The failed attempts of these calls, in their order."""
    found: dict[int, list[RenderFault]] = {}
    for fault in RenderFault.objects.filter(generation_id__in=generation_ids).order_by("generation_id", "attempt"):
        found.setdefault(fault.generation_id, []).append(fault)
    return found


@staff_page(section="queue", needs=Permission.MACHINES)
@require_POST
def queue_act(request: StaffRequest) -> HttpResponse:
    """Cancel, requeue or move the chosen generations, or all that fit the filters; each that changed is recorded."""
    act, priority, now = request.POST.get("act", ""), request.POST.get("priority", "0"), timezone.now()
    if act not in ACTS or priority not in dict(PRIORITIES):
        raise Http404
    in_bulk = request.POST.get("scope") == "fitting"
    if in_bulk and not request.POST.get("reason", "").strip():
        messages.error(request, "Nothing was changed: say why, as it is for all that fit.")
        return redirect("backoffice:queue")
    rows = _meant(request, act, in_bulk=in_bulk)
    changed = _acted(request, act, int(priority), rows, now)
    dispatcher_wake()
    _stop_rendering(act, rows)
    asked = len(rows) if in_bulk else len(request.POST.getlist("id")[:LISTED_MAX])
    messages.success(request, f"{changed} of {asked} changed.")
    if in_bulk and len(rows) == BULK_MAX:
        messages.info(request, f"These were the first {BULK_MAX}: send it again for those after them.")
    return redirect("backoffice:queue")


def _meant(request: HttpRequest, act: str, *, in_bulk: bool) -> list[Generation]:
    """Unsettled calls: the chosen ones, or the oldest of those that fit and that the act could change."""
    rows = Generation.objects.only("pk", "account_id", "state", "attempt", "worker", "priority", "model_id")
    if in_bulk:
        states, priority = ACT_ON[act], request.POST.get("priority", "0")
        rows = Filters.parse(request.POST).apply(rows.filter(state__in=states)).order_by("created_at")
        return list((rows.exclude(priority=priority) if act == "priority" else rows)[:BULK_MAX])
    chosen = request.POST.getlist("id")[:LISTED_MAX]
    ids = [int(text) for text in chosen if text.isdecimal() and len(text) < 19]
    return list(rows.filter(pk__in=ids, state__in=UNSETTLED))


def _acted(request: StaffRequest, act: str, priority: int, rows: list[Generation], now: datetime) -> int:
    changed = 0
    for generation in rows:
        # A cancelled call wakes its waiting request, which must find it committed: no transaction around that one.
        with nullcontext() if act == "cancel" else transaction.atomic():
            after = ACTS[act](generation, priority, now)
            if after is not None:
                changed += 1
                _generation_record(generation, act, after, request, now)
    return changed


def _cancel(generation: Generation, priority: int, now: datetime) -> dict[str, Any] | None:
    won = generation_cancel(account_id=generation.account_id, generation_id=generation.pk, now=now)
    return {"state": "cancelled"} if won else None


def _requeue(generation: Generation, priority: int, now: datetime) -> dict[str, Any] | None:
    return {"state": "waiting"} if generation_requeue(generation_id=generation.pk, attempt=generation.attempt) else None


def _prioritise(generation: Generation, priority: int, now: datetime) -> dict[str, Any] | None:
    waiting = Generation.objects.filter(pk=generation.pk, state=GenerationState.WAITING).exclude(priority=priority)
    return {"priority": priority} if waiting.update(priority=priority) else None


ACTS: dict[str, Callable[[Generation, int, datetime], dict[str, Any] | None]] = {
    "cancel": _cancel,
    "requeue": _requeue,
    "priority": _prioritise,
}
# In which states an act could change a call.
ACT_ON = {
    "cancel": UNSETTLED,
    "requeue": (GenerationState.RUNNING,),
    "priority": (GenerationState.WAITING,),
}


def _generation_record(
    generation: Generation, act: str, after: dict[str, Any], request: StaffRequest, now: datetime
) -> None:
    staff_action_record(
        by=request.user,
        action=f"queue {act}",
        target=f"generation:{generation.pk}",
        before={"state": generation.state, "priority": generation.priority},
        after=after,
        reason=request.POST.get("reason", "")[:300],
        now=now,
    )


def _stop_rendering(act: str, rows: list[Generation]) -> None:
    """Tell the workers that had them; a worker that does not hear it has an outcome that nobody takes."""
    if act == "priority":
        return
    for generation in rows:
        if generation.worker:
            try:
                render_control.cancel(worker=generation.worker, generation_id=generation.pk, attempt=generation.attempt)
            except OperationalError:
                return
