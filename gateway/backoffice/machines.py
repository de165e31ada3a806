"""Render workers as they report themselves, the queue per model, and what operations do to both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Min, Q, Sum
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError

from accounts.models import Account
from billing.models import UsageBucket
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.navigation import console_render
from gateway.dashboard.pictures import Shown
from gateway.ids import generation_id_floor
from gateway.services import generation_cancel
from gateway.wakeups import dispatcher_wake
from inference import render_control
from inference.engine.spec import Family, ModelRef
from inference.models import UNSETTLED, Generation, GenerationState, ImageModel, RenderWorker, WorkerState
from inference.selectors import models_published, slots_alive
from inference.states import generation_requeue

TONES = {"idle": "ok", "busy": "busy", "draining": "warn", "lost": "bad", "starting": "info"}
RATE_OVER = timedelta(minutes=60)
MEASURES = ("memory_used_bytes", "memory_budget_bytes", "uptime_s", "run_ms_p50", "run_ms_p95", "images", "failures")
UNREPORTED: dict[str, Any] = dict.fromkeys((*MEASURES, "oom_count", "device", "loading"))
LISTED_MAX = 100
FAILED_SHOWN = 20
PRIORITIES = (("10", "Before all others"), ("5", "Raised"), ("0", "Normal"), ("-5", "After the others"))


@dataclass(frozen=True, slots=True)
class Machine:
    """A render worker beside what its report says. Numbers that it did not report are None."""

    worker: RenderWorker
    # What its pictures were charged in the last hour, in micro-dollars.
    earned_microusd: int

    @property
    def state(self) -> str:
        drained = self.worker.draining and self.worker.state != WorkerState.LOST
        return "draining" if drained else str(self.worker.state)

    @property
    def tone(self) -> str:
        return TONES.get(self.state, "")

    @property
    def report(self) -> dict[str, Any]:
        return {**UNREPORTED, **self.worker.report}

    @property
    def running(self) -> list[dict[str, Any]]:
        return [item | {"percent": _percent(item)} for item in self.report.get("running", [])]

    @property
    def resident(self) -> list[dict[str, Any]]:
        return list(self.report.get("resident_models", []))

    @property
    def pinned_absent(self) -> list[str]:
        """Models that will stay once they are loaded, and are not yet."""
        return sorted(set(self.report.get("pinned", [])) - set(self.worker.resident))

    @property
    def images_per_hour(self) -> float | None:
        """Over its whole life: a worker reports how many it has made and for how long it has been up."""
        uptime_s = self.report.get("uptime_s") or 0
        return (self.report["images"] or 0) * 3600 / uptime_s if uptime_s >= 60 else None


def _percent(item: dict[str, Any]) -> int:
    return min(100, round(100 * item.get("step", 0) / item["steps"])) if item.get("steps") else 0


@staff_page(section="workers", needs=Permission.LOOK)
@require_safe
def workers(request: StaffRequest) -> HttpResponse:
    now = timezone.now()
    earned = earned_per_hour(now)
    context = {
        "machines": [
            Machine(worker, earned.get(worker.name, 0)) for worker in RenderWorker.objects.order_by("state", "name")
        ],
        "earned": sum(earned.values()),
        "models": models_published().values_list("model_id", flat=True)[:LISTED_MAX],
        "now": now,
    }
    return console_render(request, "backoffice/workers.html", context)


def earned_per_hour(now: datetime) -> dict[str, int]:
    """What the calls of the last hour were charged, by the worker that rendered them: micro-dollars. Reads that hour's
    calls alone, by their ids."""
    made = Generation.objects.filter(pk__gte=generation_id_floor(now - RATE_OVER), charged_microusd__gt=0)
    return dict(made.values_list("worker").annotate(total=Sum("charged_microusd")).order_by())


def _drain(worker: RenderWorker, asked: str) -> None:
    render_control.drain(worker=worker.name, draining=True)


def _resume(worker: RenderWorker, asked: str) -> None:
    render_control.drain(worker=worker.name, draining=False)


def _evict(worker: RenderWorker, asked: str) -> None:
    render_control.evict(worker=worker.name, model_id=asked)


def _preload(worker: RenderWorker, asked: str) -> None:
    model = ImageModel.objects.get(model_id=asked)
    ref = ModelRef(
        model_id=model.model_id,
        family=Family(model.family),
        source=model.source,
        revision=model.revision,
        variant=model.variant,
        prediction_type=model.prediction_type,
    )
    render_control.preload(worker=worker.name, model=ref.to_dict())


def _pin(worker: RenderWorker, asked: str) -> None:
    render_control.pin(worker=worker.name, model_id=asked, pinned=True)


def _unpin(worker: RenderWorker, asked: str) -> None:
    render_control.pin(worker=worker.name, model_id=asked, pinned=False)


COMMANDS: dict[str, Callable[[RenderWorker, str], None]] = {
    "drain": _drain,
    "resume": _resume,
    "evict": _evict,
    "preload": _preload,
    "pin": _pin,
    "unpin": _unpin,
}


@staff_page(section="workers", needs=Permission.MACHINES)
@require_POST
def worker_command(request: StaffRequest, name: str, command: str) -> HttpResponse:
    """Recorded first, then sent: a message that is lost was still asked for."""
    worker = get_object_or_404(RenderWorker, pk=name)
    asked = request.POST.get("model", "")[:120]
    if command not in COMMANDS or (command not in ("drain", "resume") and not asked):
        raise Http404
    if command == "preload" and not ImageModel.objects.filter(model_id=asked).exists():
        messages.error(request, f"There is no model {asked}.")
        return redirect("backoffice:workers")
    _worker_record(worker, command, asked, request, timezone.now())
    try:
        COMMANDS[command](worker, asked)
    except OperationalError:
        messages.error(request, "The broker is away: the worker was not told. Try again.")
    else:
        messages.success(request, f"{worker.name} was told: {command} {asked}".strip() + ".")
    return redirect("backoffice:workers")


@transaction.atomic
def _worker_record(worker: RenderWorker, command: str, asked: str, request: StaffRequest, now: datetime) -> None:
    before = worker.draining
    if command in ("drain", "resume"):
        # The dispatcher looks at this column, so that nothing more is assigned whatever the worker hears.
        worker.draining = command == "drain"
        RenderWorker.objects.filter(pk=worker.pk).update(draining=worker.draining)
    staff_action_record(
        by=request.user,
        action=f"worker {command}",
        target=f"worker:{worker.name}",
        before={"draining": before},
        after={"draining": worker.draining} | ({"model": asked} if asked else {}),
        now=now,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """The queue of one model. Rates are calls a minute over the last hour."""

    model_id: str
    waiting: int
    running: int
    oldest_s: float
    arrived_per_min: float
    served_per_min: float
    predicted_wait_s: float | None


def lines(now: datetime) -> list[Line]:
    """Per model with anything in it. The wait of one more call is what waits over what was served lately."""
    rows = Generation.objects.filter(state__in=UNSETTLED).values("model_id")
    unsettled = rows.annotate(
        waiting=Count("pk", filter=Q(state=GenerationState.WAITING)),
        running=Count("pk", filter=Q(state=GenerationState.RUNNING)),
        oldest=Min("created_at", filter=Q(state=GenerationState.WAITING)),
    ).order_by("model_id")
    lately = UsageBucket.objects.filter(bucket__gt=now - RATE_OVER).values("model_id")
    served = {
        row["model_id"]: (row["made"], row["ran"])
        for row in lately.annotate(made=Sum("calls"), ran=Sum("run_ms")).order_by()
    }
    slots, minutes = slots_alive(), RATE_OVER.total_seconds() / 60
    return [
        _line(row, *served.get(row["model_id"], (0, 0)), slots=slots, minutes=minutes, now=now) for row in unsettled
    ]


def _line(row: dict[str, Any], made: int, ran_ms: int, *, slots: int, minutes: float, now: datetime) -> Line:
    # Everything that arrived was served or is still here.
    per_call_s = ran_ms / made / 1000 if made and ran_ms else None
    return Line(
        model_id=row["model_id"],
        waiting=row["waiting"],
        running=row["running"],
        oldest_s=(now - row["oldest"]).total_seconds() if row["oldest"] else 0.0,
        arrived_per_min=(made + row["waiting"] + row["running"]) / minutes,
        served_per_min=made / minutes,
        predicted_wait_s=row["waiting"] * per_call_s / slots if per_call_s and slots else None,
    )


@staff_page(section="queue", needs=Permission.LOOK)
@require_safe
def queue(request: StaffRequest) -> HttpResponse:
    now = timezone.now()
    model_id = request.GET.get("model", "")[:120]
    rows = Generation.objects.filter(state__in=UNSETTLED).order_by("-state", "-priority", "created_at")
    listed = list((rows.filter(model_id=model_id) if model_id else rows).defer("spec", "asked", "result")[:LISTED_MAX])
    failed = Generation.objects.filter(state=GenerationState.FAILED, pk__in=_newest_ids())
    failures = list(failed.defer("spec", "asked", "result").order_by("-id")[:FAILED_SHOWN])
    everyone = {row.account_id for row in (*listed, *failures)}
    context = {
        "lines": lines(now),
        "listed": [Shown(row) for row in listed],
        "failures": [Shown(row) for row in failures],
        "names": dict(Account.objects.filter(pk__in=everyone).values_list("pk", "name")),
        "priorities": PRIORITIES,
        "model_id": model_id,
        "now": now,
    }
    return console_render(request, "backoffice/queue.html", context)


def _newest_ids() -> list[int]:
    """Failures are looked for among the newest thousand: no index has them, and older ones are in the log."""
    return list(Generation.objects.order_by("-id").values_list("pk", flat=True)[:1000])


@staff_page(section="queue", needs=Permission.MACHINES)
@require_POST
def queue_act(request: StaffRequest) -> HttpResponse:
    """Cancel, requeue or move the chosen generations; each that changed is recorded."""
    act, chosen = request.POST.get("act", ""), request.POST.getlist("id")[:LISTED_MAX]
    ids = [int(text) for text in chosen if text.isdecimal() and len(text) < 19]
    priority = request.POST.get("priority", "0")
    if act not in ACTS or priority not in dict(PRIORITIES):
        raise Http404
    now = timezone.now()
    rows = list(
        Generation.objects.filter(pk__in=ids, state__in=UNSETTLED).only(
            "pk", "account_id", "state", "attempt", "worker", "priority"
        )
    )
    changed = 0
    for generation in rows:
        # A cancelled call wakes its waiting request, which must find it committed: no transaction around that one.
        with nullcontext() if act == "cancel" else transaction.atomic():
            after = ACTS[act](generation, int(priority), now)
            if after is not None:
                changed += 1
                _generation_record(generation, act, after, request, now)
    dispatcher_wake()
    _stop_rendering(act, rows)
    messages.success(request, f"{changed} of {len(ids)} changed.")
    return redirect("backoffice:queue")


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
