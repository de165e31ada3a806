"""What writes generations and render workers, apart from the moves of inference.states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from inference.engine.spec import RenderSpec
from inference.models import GenerationState, RenderWorker, WorkerState

_COLUMNS = (
    "id, account_id, key_id, token, state, operation, endpoint, api_version, model_id, plan_code, unit_price_microusd,"
    " funding, weight, priority, images_requested, width_px, height_px, work_kilopixel_steps, spec, asked, reply,"
    " webhook_url, track_id, created_at, worker, attempt, step, steps, images_delivered, charged_microusd,"
    " error_code, error_message"
)
_INSERT = f"INSERT INTO inference_generation ({_COLUMNS}) VALUES ({', '.join(['%s'] * 32)})"  # noqa: S608 - both parts are constants above


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
    track_id: str | int | None
    created_at: datetime


def generation_create(new: NewGeneration) -> None:
    """Insert the waiting row. Written out because it is the hot path: the ORM's insert costs three times the CPU."""
    spec = new.spec
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            [
                new.id,
                new.account_id,
                new.key_id,
                spec.token,
                GenerationState.WAITING.value,
                spec.operation.value,
                new.endpoint,
                new.api_version,
                spec.model.model_id,
                new.plan_code,
                new.unit_price_microusd,
                new.funding,
                new.weight,
                0,
                spec.samples,
                spec.width_px,
                spec.height_px,
                int(spec.cost_megapixel_steps * 1000),
                orjson.dumps(spec).decode(),
                orjson.dumps(new.asked).decode(),
                orjson.dumps(new.reply).decode(),
                new.webhook_url,
                orjson.dumps(new.track_id).decode() if new.track_id is not None else None,
                connection.ops.adapt_datetimefield_value(new.created_at),
                "",
                0,
                0,
                spec.num_inference_steps * spec.samples,
                0,
                0,
                "",
                "",
            ],
        )


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
