"""What writes generations and render workers, apart from the moves of inference.states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from inference.engine.spec import RenderSpec
from inference.models import GenerationState, RenderWorker, WorkerState


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
    funding: str
    weight: int
    spec: RenderSpec
    asked: dict[str, Any]
    reply: dict[str, Any]
    webhook_url: str
    track_id: str | int | float | None
    created_at: datetime


def generation_row(new: NewGeneration) -> dict[str, Any]:
    """The waiting row, column by column. Admission writes it in one statement with the reservation that it needs."""
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
        "funding": new.funding,
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
        "created_at": connection.ops.adapt_datetimefield_value(new.created_at),
        "worker": "",
        "attempt": 0,
        "step": 0,
        "steps": spec.num_inference_steps * spec.samples,
        "images_delivered": 0,
        "charged_microusd": 0,
        "error_code": "",
        "error_message": "",
    }


def worker_seen(*, name: str, report: dict[str, Any], now: datetime) -> None:
    """A render worker's message about itself: announce, heartbeat, or goodbye (`state` lost)."""
    RenderWorker.objects.update_or_create(
        name=name,
        defaults={
            "state": WorkerState(report["state"]),
            "slots": report["slots"],
            "serves": report.get("serves", []),
            "resident": report.get("resident", []),
            "report": report,
            "version": report.get("version", ""),
            "last_seen_at": now,
        },
        create_defaults={
            "state": WorkerState(report["state"]),
            "slots": report["slots"],
            "serves": report.get("serves", []),
            "resident": report.get("resident", []),
            "report": report,
            "version": report.get("version", ""),
            "owner_account_id": report.get("owner_account_id"),
            "cost_microusd_per_hour": report.get("cost_microusd_per_hour", 0),
            "started_at": now,
            "last_seen_at": now,
        },
    )


def workers_lose(*, unseen_since: datetime) -> int:
    """Mark workers lost that have not been heard of since; how many."""
    silent = RenderWorker.objects.filter(last_seen_at__lt=unseen_since).exclude(state=WorkerState.LOST)
    return silent.update(state=WorkerState.LOST)
