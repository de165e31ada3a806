"""Reads of the catalogue, generations and render workers. A stranger's generation is not found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import BooleanField, F, Func, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from inference.engine.spec import Family
from inference.errors import GenerationNotFound, ModelNotFound
from inference.models import UNSETTLED, Adapter, Generation, GenerationState, ImageModel, RenderWorker, WorkerState

# Half an hour of work for a machine that draws five pictures a second.
WAITING_COUNTED_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueModel:
    """A published model as an order needs it: frozen, so that a process may keep it for a second."""

    model_id: str
    name: str
    family: Family
    operations: tuple[str, ...]
    source: str
    revision: str
    variant: str
    prediction_type: str
    trigger_words: str
    price_code: str
    width_px_default: int
    height_px_default: int
    side_px_min: int
    side_px_max: int
    steps_default: int
    steps_max: int
    guidance_scale_default: float
    scheduler_default: str
    samples_max: int
    deprecated_at: datetime | None
    sunset_at: datetime | None
    # The id of the model to use instead; empty for none.
    replacement: str


_FIELDS = tuple(name for name in CatalogueModel.__dataclass_fields__ if name != "replacement")


def model_find(model_id: str) -> CatalogueModel:
    found = ImageModel.objects.filter(model_id=model_id, published=True)
    row = found.values(*_FIELDS, replacement=Coalesce("replaced_by__model_id", Value(""))).first()
    if row is None:
        raise ModelNotFound(model_id=model_id)
    return CatalogueModel(**row | {"family": Family(row["family"]), "operations": tuple(row["operations"])})


class ListHolds(Func):
    """Whether a JSON list holds exactly this text: for filters, in the words of each database."""

    output_field = BooleanField()

    def __init__(self, column: str, value: str) -> None:
        super().__init__(F(column))
        self.value = value

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:
        column, params = compiler.compile(self.source_expressions[0])
        return f"EXISTS (SELECT 1 FROM json_each({column}) AS held WHERE held.value = %s)", [*params, self.value]  # noqa: S608 - placeholders alone

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:
        column, params = compiler.compile(self.source_expressions[0])
        return f"({column} @> %s::jsonb)", [*params, json.dumps([self.value])]


def models_published() -> QuerySet[ImageModel]:
    return ImageModel.objects.filter(published=True).order_by("model_id")


def adapter_find(*, adapter_id: str, kind: str, family: Family) -> Adapter | None:
    return Adapter.objects.filter(adapter_id=adapter_id, kind=kind, family=family.value, published=True).first()


def controlnet_find(*, control_kind: str, family: Family) -> Adapter | None:
    return Adapter.objects.filter(
        kind="controlnet", control_kind=control_kind, family=family.value, published=True
    ).first()


def generation_of(*, account_id: int, generation_id: int) -> Generation:
    """The account's generation; a stranger's is answered like an unknown one."""
    generation = Generation.objects.filter(pk=generation_id, account_id=account_id).first()
    if generation is None:
        raise GenerationNotFound(generation_id=generation_id)
    return generation


def generations_settled(ids: list[int]) -> list[int]:
    """Which of these are settled: what waiting requests ask, many at once."""
    return list(Generation.objects.filter(pk__in=ids).exclude(state__in=UNSETTLED).values_list("pk", flat=True))


def generations_unsettled(ids: Iterable[int]) -> set[int]:
    """Which of these wait or run."""
    return set(Generation.objects.filter(pk__in=ids, state__in=UNSETTLED).values_list("pk", flat=True))


def queue_position(generation: Generation) -> int:
    """How many waiting generations stand before this one by age; 0 when it is next or already runs."""
    if generation.state != GenerationState.WAITING:
        return 0
    return (
        Generation.objects.filter(state=GenerationState.WAITING)
        .filter(Q(created_at__lt=generation.created_at) | Q(created_at=generation.created_at, pk__lt=generation.pk))
        .count()
    )


def waiting_count() -> int:
    """Counted to WAITING_COUNTED_MAX: behind so many, nobody asks how many more."""
    waiting = Generation.objects.filter(state=GenerationState.WAITING)
    return waiting.values("pk")[:WAITING_COUNTED_MAX].count()


def queue_length() -> int:
    return Generation.objects.filter(state__in=UNSETTLED).count()


def queued_calls(*, account_id: int, key_id: int | None = None) -> int:
    """How many calls of the account, or of one key of it, wait or run."""
    calls = Generation.objects.filter(account_id=account_id, state__in=UNSETTLED)
    return calls.count() if key_id is None else calls.filter(key_id=key_id).count()


def calls_since(floor: int, *, account_id: int, key_id: int | None = None) -> QuerySet[Generation]:
    """The calls of the account, or of one key of it, whose ids are at least `floor`; oldest first."""
    calls = Generation.objects.filter(account_id=account_id, pk__gte=floor).order_by("pk")
    return calls if key_id is None else calls.filter(key_id=key_id)


def run_seconds_typical() -> float:
    """Mean seconds of a render over the living workers' own reports; 2.0 before the first report."""
    reports = workers_alive().values_list("report", flat=True)
    measured = [report["run_ms_p50"] for report in reports if report.get("run_ms_p50")]
    return sum(measured) / len(measured) / 1000 if measured else 2.0


def workers_alive() -> QuerySet[RenderWorker]:
    return RenderWorker.objects.exclude(state=WorkerState.LOST)


def slots_alive() -> int:
    return sum(workers_alive().values_list("slots", flat=True))


def leases_run_out(*, now: datetime, limit: int) -> QuerySet[Generation]:
    running = Generation.objects.filter(state=GenerationState.RUNNING, lease_until__lt=now)
    return running.order_by("lease_until")[:limit]


def waiting_too_long(*, created_before: datetime, limit: int) -> QuerySet[Generation]:
    waiting = Generation.objects.filter(state=GenerationState.WAITING, created_at__lt=created_before)
    return waiting.order_by("created_at")[:limit]
