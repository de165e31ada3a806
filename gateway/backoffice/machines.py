"""Render workers as they report themselves, a day of each, and what operations ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Sum
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError

from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.navigation import console_render
from gateway.backoffice.worker_history import history
from gateway.ids import generation_id_floor
from inference import render_control
from inference.engine.spec import Family, ModelRef
from inference.log_tail import LINES_MAX
from inference.models import Generation, ImageModel, RenderWorker, WorkerLog, WorkerState
from inference.selectors import models_published
from inference.services import SILENT_WORKERS_KEPT, worker_forget, worker_log_asked

TONES = {"idle": "ok", "busy": "busy", "draining": "warn", "restarting": "warn", "lost": "bad", "starting": "info"}
RATE_OVER = timedelta(minutes=60)
MEASURES = ("memory_used_bytes", "memory_budget_bytes", "uptime_s", "run_ms_p50", "run_ms_p95", "images", "failures")
LATER_MEASURES = ("wait_ms_p50", "load_ms_p50", "cold_starts", "active_rows", "max_rows", "restarting")
UNREPORTED: dict[str, Any] = dict.fromkeys((*MEASURES, *LATER_MEASURES, "oom_count", "device", "loading"))
MACHINE = ("host", "gpu", "gpu_count", "driver", "gpu_celsius", "gpu_percent", "gpu_memory_used_bytes")
UNTOLD: dict[str, Any] = dict.fromkeys((*MACHINE, "gpu_memory_bytes"))
MODELS_MAX = 100
# A worker that is there answers at its next message; after this the page stops asking by itself.
LOG_PATIENCE = timedelta(minutes=1)
# A machine that starts again, or a network that comes back, takes less.
FORGET_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Machine:
    """A render worker beside what its report says. Numbers that it did not report are None."""

    worker: RenderWorker
    # What its pictures were charged in the last hour, in micro-dollars.
    earned_microusd: int

    @property
    def state(self) -> str:
        if self.worker.state != WorkerState.LOST and self.report["restarting"]:
            return "restarting"
        drained = self.worker.draining and self.worker.state != WorkerState.LOST
        return "draining" if drained else str(self.worker.state)

    @property
    def away(self) -> bool:
        """Nobody would read what is asked of it, until a process of that name comes back and obeys belatedly."""
        return self.worker.state == WorkerState.LOST

    @property
    def tone(self) -> str:
        return TONES.get(self.state, "")

    @property
    def report(self) -> dict[str, Any]:
        return {**UNREPORTED, **self.worker.report}

    @property
    def machine(self) -> dict[str, Any]:
        return {**UNTOLD, **self.worker.report.get("machine", {})}

    @property
    def rows_per_forward(self) -> list[tuple[str, float]]:
        """By model, of the last minutes."""
        return sorted(self.worker.report.get("rows_per_forward", {}).items())

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
    known = [Machine(worker, earned.get(worker.name, 0)) for worker in RenderWorker.objects.order_by("state", "name")]
    context = {
        "machines": [machine for machine in known if not machine.away],
        "away": sorted((m for m in known if m.away), key=lambda m: m.worker.last_seen_at, reverse=True),
        "earned": sum(earned.values()),
        "models": models_published().values_list("model_id", flat=True)[:MODELS_MAX],
        "now": now,
        **_forgetting(now),
    }
    return console_render(request, "backoffice/workers.html", context)


def _forgetting(now: datetime) -> dict[str, Any]:
    """Workers that were last heard of before `forget_before` may be forgotten by hand; all are after `kept_days`."""
    return {"forget_before": now - FORGET_AFTER, "kept_days": SILENT_WORKERS_KEPT.days}


@staff_page(section="workers", needs=Permission.LOOK)
@require_safe
def worker(request: StaffRequest, name: str) -> HttpResponse:
    """One worker: what it says of itself, its last 24 hours, and its log for those who may steer it."""
    found, now = get_object_or_404(RenderWorker, pk=name), timezone.now()
    context = {
        "m": Machine(found, earned_per_hour(now).get(name, 0)),
        "models": models_published().values_list("model_id", flat=True)[:MODELS_MAX],
        "day": history(found, now),
        **_log_of(name, now),
        **_forgetting(now),
    }
    return console_render(request, "backoffice/worker.html", context)


@staff_page(section="workers", needs=Permission.MACHINES)
@require_safe
def worker_log(request: StaffRequest, name: str) -> HttpResponse:
    """The log alone: the page asks for it while the worker has not answered."""
    found, now = get_object_or_404(RenderWorker, pk=name), timezone.now()
    return console_render(request, "backoffice/worker_log.html", {"name": found.name, **_log_of(name, now)})


def _log_of(name: str, now: datetime) -> dict[str, Any]:
    log = WorkerLog.objects.filter(pk=name).first()
    waiting = log is not None and log.told_at is None
    return {
        "log": log,
        "log_text": "\n".join(log.lines) if log else "",
        "log_waited": waiting and log is not None and now - log.asked_at < LOG_PATIENCE,
        "log_missed": waiting and log is not None and now - log.asked_at >= LOG_PATIENCE,
        "now": now,
    }


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


def _restart(worker: RenderWorker, asked: str) -> None:
    render_control.restart(worker=worker.name)


def _log(worker: RenderWorker, asked: str) -> None:
    worker_log_asked(name=worker.name, now=timezone.now())
    render_control.log(worker=worker.name, lines=LINES_MAX)


# What the dispatcher obeys by itself.
WHILE_AWAY = frozenset({"drain", "resume"})
# What needs no model.
PLAIN: dict[str, Callable[[RenderWorker, str], None]] = {
    "drain": _drain,
    "resume": _resume,
    "restart": _restart,
    "log": _log,
}
COMMANDS: dict[str, Callable[[RenderWorker, str], None]] = PLAIN | {
    "evict": _evict,
    "preload": _preload,
    "pin": _pin,
    "unpin": _unpin,
}


@staff_page(section="workers", needs=Permission.MACHINES)
@require_POST
def worker_command(request: StaffRequest, name: str, command: str) -> HttpResponse:
    """Recorded first, then sent: a message that is lost was still asked for."""
    found = get_object_or_404(RenderWorker, pk=name)
    asked = request.POST.get("model", "")[:120]
    if command not in COMMANDS or (command not in PLAIN and not asked):
        raise Http404
    if command == "preload" and not ImageModel.objects.filter(model_id=asked).exists():
        messages.error(request, f"There is no model {asked}.")
        return redirect("backoffice:worker", name=name)
    if found.state == WorkerState.LOST and command not in WHILE_AWAY:
        messages.error(request, f"{found.name} is away: it can be asked again once it reports.")
        return redirect("backoffice:worker", name=name)
    _worker_record(found, command, asked, request, timezone.now())
    try:
        COMMANDS[command](found, asked)
    except OperationalError:
        messages.error(request, "The broker is away: the worker was not told. Try again.")
    else:
        messages.success(request, f"{found.name} was told: {command} {asked}".strip() + ".")
    return redirect("backoffice:worker", name=name)


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


@staff_page(section="workers", needs=Permission.MACHINES)
@require_POST
def worker_forgotten(request: StaffRequest, name: str) -> HttpResponse:
    """Take a worker that stays away off the list."""
    found, now = get_object_or_404(RenderWorker, pk=name), timezone.now()
    with transaction.atomic():
        gone = worker_forget(name=found.name, unseen_since=now - FORGET_AFTER)
        if gone:
            staff_action_record(
                by=request.user,
                action="worker forget",
                target=f"worker:{found.name}",
                before={"last_seen_at": found.last_seen_at.isoformat(), "draining": found.draining},
                now=now,
            )
    if not gone:
        messages.error(request, f"{found.name} stays: it was heard of in the last hour, or holds a call.")
        return redirect("backoffice:worker", name=found.name)
    messages.success(request, f"{found.name} is forgotten.")
    return redirect("backoffice:workers")
