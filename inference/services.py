"""What writes generations and render workers, apart from the moves of inference.states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.base import ModelState

from inference.engine.spec import RenderSpec
from inference.log_tail import LINE_CHARACTERS_MAX, LINES_MAX
from inference.models import (
    Generation,
    GenerationState,
    RenderFault,
    RenderWorker,
    WorkerLog,
    WorkerMinute,
    WorkerState,
)

# The console shows a day of them; the second one is for whoever looks late.
MINUTES_KEPT = timedelta(hours=48)
FAULTS_KEPT = timedelta(days=7)
LOGS_KEPT = timedelta(days=1)
# The console compares 30 days with the 30 before, at the mean cost of the workers that it knows: until then a machine
# that is gone has a part in it.
SILENT_WORKERS_KEPT = timedelta(days=60)
TRACE_CHARACTERS_MAX = 4000
_NULLABLE = [field.attname for field in Generation._meta.concrete_fields if field.null]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGeneration:
    """An admitted call, ready to be written. Amounts are micro-dollars per image."""

    id: int
    account_id: int
    key_id: int
    endpoint: str
    api_version: str
    plan_code: str
    unit_price_microusd: int
    weight: int
    spec: RenderSpec
    asked: dict[str, Any]
    reply: dict[str, Any]
    webhook_url: str
    track_id: str | int | float | None
    created_at: datetime


def generation_row(new: NewGeneration) -> dict[str, Any]:
    """The waiting row, column by column, but for `funding`: what pays is known when it is written. Admission writes it
    in one statement with the reservation that it needs."""
    spec = new.spec
    return {
        "id": new.id,
        "account_id": new.account_id,
        "key_id": new.key_id,
        "token": spec.token,
        "state": GenerationState.WAITING.value,
        "operation": spec.operation.value,
        "endpoint": new.endpoint,
        "api_version": new.api_version,
        "model_id": spec.model.model_id,
        "plan_code": new.plan_code,
        "unit_price_microusd": new.unit_price_microusd,
        "weight": new.weight,
        "priority": 0,
        "images_requested": spec.samples,
        "width_px": spec.width_px,
        "height_px": spec.height_px,
        "work_kilopixel_steps": int(spec.cost_megapixel_steps * 1000),
        "spec": orjson.dumps(spec).decode(),
        "asked": orjson.dumps(new.asked).decode(),
        "reply": orjson.dumps(new.reply).decode(),
        "webhook_url": new.webhook_url,
        "track_id": orjson.dumps(new.track_id).decode() if new.track_id is not None else None,
        "created_at": new.created_at,
        "worker": "",
        "attempt": 0,
        "step": 0,
        "steps": spec.num_inference_steps * spec.samples,
        "images_delivered": 0,
        "charged_microusd": 0,
        "error_code": "",
        "error_message": "",
    }


def generation_written(new: NewGeneration, row: Mapping[str, Any], *, funding: str) -> Generation:
    """What reading the row back would give. It is put together past the model's own constructor, which visits every
    field: that was a tenth of an admission."""
    written = Generation.__new__(Generation)
    values = vars(written)
    values.update(dict.fromkeys(_NULLABLE))
    values.update(row)
    values["_state"] = state = ModelState()
    state.adding, state.db = False, DEFAULT_DB_ALIAS
    values["funding"] = funding
    values["spec"], values["asked"], values["reply"] = orjson.loads(row["spec"]), new.asked, new.reply
    values["track_id"] = new.track_id
    return written


def worker_seen(*, name: str, report: dict[str, Any], now: datetime) -> None:
    """A render worker's message about itself: announce, heartbeat, or goodbye (`state` lost)."""
    said = {
        "state": WorkerState(report["state"]),
        "slots": report["slots"],
        "serves": report.get("serves", []),
        "resident": report.get("resident", []),
        "report": report,
        "version": report.get("version", ""),
        "last_seen_at": now,
    }
    row = RenderWorker.objects.filter(pk=name)
    before = row.values_list("last_seen_at", flat=True).first()
    if before is None:
        first = {
            "owner_account_id": report.get("owner_account_id"),
            "cost_microusd_per_hour": report.get("cost_microusd_per_hour", 0),
            "started_at": now,
        }
        RenderWorker.objects.get_or_create(name=name, defaults=said | first)
    else:
        row.update(**said)
    if before is None or _minute(before) != _minute(now):
        WorkerMinute.objects.bulk_create([worker_minute(name=name, report=report, now=now)], ignore_conflicts=True)


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def worker_minute(*, name: str, report: dict[str, Any], now: datetime) -> WorkerMinute:
    """What of a report is remembered of its minute, not yet written."""
    machine = report.get("machine", {})
    told = {field: machine.get(field) for field in ("gpu_memory_used_bytes", "gpu_percent", "gpu_celsius")}
    used_bytes = report.get("memory_used_bytes")
    return WorkerMinute(worker=name, minute=_minute(now), state=report["state"], memory_used_bytes=used_bytes, **told)


def worker_log_asked(*, name: str, now: datetime) -> None:
    WorkerLog.objects.update_or_create(worker=name, defaults={"asked_at": now, "told_at": None})


def worker_log_told(*, name: str, lines: list[str], now: datetime) -> None:
    """What nobody asked for is not kept; what is too much is cut, whatever the worker sends."""
    kept = [str(line)[:LINE_CHARACTERS_MAX] for line in lines[-LINES_MAX:]]
    WorkerLog.objects.filter(worker=name).update(lines=kept, told_at=now)


def render_fault_note(
    *, generation_id: int, attempt: int, worker: str, code: str, message: str, now: datetime, trace: str = ""
) -> None:
    """An attempt that came to nothing. Told twice, it stands once."""
    fault = RenderFault(
        generation_id=generation_id,
        attempt=attempt,
        worker=worker[:80],
        code=code[:60],
        message=message[:1000],
        trace=trace[-TRACE_CHARACTERS_MAX:],
        at=now,
    )
    RenderFault.objects.bulk_create([fault], ignore_conflicts=True)


def worker_history_forget(*, now: datetime, limit: int) -> int:
    """Delete what is over its time: minutes of render workers, failed attempts, logs, and workers that stay away. How
    many rows, at most `limit` of each kind."""
    old = (
        WorkerMinute.objects.filter(minute__lt=now - MINUTES_KEPT),
        RenderFault.objects.filter(at__lt=now - FAULTS_KEPT),
        WorkerLog.objects.filter(asked_at__lt=now - LOGS_KEPT),
        _workers_gone(unseen_since=now - SILENT_WORKERS_KEPT),
    )
    return sum(_first_delete(rows, limit) for rows in old)


def _first_delete(rows: QuerySet[Any], limit: int) -> int:
    keys = list(rows.values_list("pk", flat=True)[:limit])
    return rows.filter(pk__in=keys).delete()[0] if keys else 0


def workers_lose(*, unseen_since: datetime) -> int:
    """Mark workers lost that have not been heard of since; how many."""
    silent = RenderWorker.objects.filter(last_seen_at__lt=unseen_since).exclude(state=WorkerState.LOST)
    return silent.update(state=WorkerState.LOST)


def worker_forget(*, name: str, unseen_since: datetime) -> bool:
    """Delete a lost worker with its minutes and its log; False if it was heard of since then or still has a lease. Its
    calls keep its name. Should it report again, it is a new one."""
    forgotten, _ = _workers_gone(unseen_since=unseen_since).filter(pk=name).delete()
    if forgotten:
        WorkerMinute.objects.filter(worker=name).delete()
        WorkerLog.objects.filter(worker=name).delete()
    return forgotten > 0


def _workers_gone(*, unseen_since: datetime) -> QuerySet[RenderWorker]:
    leases = Generation.objects.filter(worker=OuterRef("pk"), state=GenerationState.RUNNING)
    lost = RenderWorker.objects.filter(state=WorkerState.LOST, last_seen_at__lt=unseen_since)
    return lost.exclude(Exists(leases))
