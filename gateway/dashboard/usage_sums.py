"""The sums behind the usage page, its CSV and the usage API: per step of a span, per group, per status.

Whole days that are folded come from the folds, everything else from the quarters; the sums are the same either way.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import F, Func, IntegerField, QuerySet, Sum

from accounts.models import Account
from billing.models import UsageBucket, UsageFold, UsageFolding
from gateway.dashboard.ranges import Range, step_next, step_start

MEASURES = ("calls", "images", "amount_microusd", "wait_ms", "run_ms")
DIMENSIONS = ("model_id", "key_id", "endpoint", "size", "source", "status")
_SUMS = {f"{name}_sum": Sum(name) for name in MEASURES}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one group did in one step with one outcome. Times are milliseconds, summed over the calls."""

    step: int
    group: Any
    status: str
    calls: int
    images: int
    amount_microusd: int
    wait_ms: int
    run_ms: int


def cells(account: Account, span: Range, group: str) -> list[Cell]:
    """All cells of the span that are not empty, in no order. `group` is one of DIMENSIONS."""
    first, beyond = folded_days(account, span)
    if beyond is None:
        return list(_from_quarters(account, span, group, [(span.start, span.end)]))
    edges = [(span.start, _midnight(first, span)), (_midnight(beyond, span), span.end)]
    quarters = _from_quarters(account, span, group, [edge for edge in edges if edge[0] < edge[1]])
    return [*_from_folds(account, span, group, first, beyond), *quarters]


def folded_days(account: Account, span: Range) -> tuple[date, date | None]:
    """The span's first whole day, and the day after its last folded one; None when no day of it is folded."""
    start = step_start(span.start, unit="day", zone=span.zone)
    first = (start if start == span.start else step_next(start, unit="day", zone=span.zone)).date()
    state = None if span.hourly else UsageFolding.objects.filter(pk=account.pk, zone=str(span.zone)).first()
    if state is None:
        return first, None
    last = min(state.through, span.end.astimezone(span.zone).date() - timedelta(days=1))
    return first, (last + timedelta(days=1) if last >= first else None)


def _midnight(day: date, span: Range) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=span.zone)


def _from_folds(account: Account, span: Range, group: str, first: date, beyond: date) -> Iterator[Cell]:
    rows = UsageFold.objects.filter(account_id=account.pk, day__gte=first, day__lt=beyond)
    steps = span.steps()
    place_of = functools.cache(lambda day: bisect_right(steps, _midnight(day, span)) - 1)
    for row in rows.values("day", *{group, "status"}).annotate(**_SUMS).order_by():
        yield _cell(place_of(row["day"]), row, group)


def _from_quarters(account: Account, span: Range, group: str, edges: list[tuple[datetime, datetime]]) -> Iterator[Cell]:
    steps = span.steps()
    for start, end in edges:
        rows = quarters(account, start, end).annotate(step=StepOf(F("bucket"), tuple(steps[1:])))
        for row in rows.values("step", *{group, "status"}).annotate(**_SUMS).order_by():
            yield _cell(row["step"], row, group)


def quarters(account: Account, start: datetime, end: datetime) -> QuerySet[UsageBucket]:
    return UsageBucket.objects.filter(account_id=account.pk, bucket__gte=start, bucket__lt=end)


def _cell(step: int, row: dict[str, Any], group: str) -> Cell:
    return Cell(step, row[group], row["status"], *(row[name] for name in _SUMS))


class StepOf(Func):
    """How many of `bounds` (ascending) are not after the expression: the number of its step, in SQL."""

    output_field = IntegerField()

    def __init__(self, expression: Any, bounds: tuple[datetime, ...]) -> None:
        super().__init__(expression)
        self.bounds = bounds

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:
        moment, params = compiler.compile(self.source_expressions[0])
        if not self.bounds:
            return "0", []
        adapted = [connection.ops.adapt_datetimefield_value(bound) for bound in self.bounds]
        whens = " ".join(f"WHEN {moment} < %s THEN {number}" for number in range(len(adapted)))
        values = [value for bound in adapted for value in (*params, bound)]
        return f"(CASE {whens} ELSE {len(adapted)} END)", values

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:
        moment, params = compiler.compile(self.source_expressions[0])
        if not self.bounds:
            return "0", []
        return f"width_bucket({moment}, %s::timestamptz[])", [*params, list(self.bounds)]


def by_group(found: list[Cell], measure: str) -> dict[Any, int]:
    """The measure's sum per group over the whole span."""
    sums: dict[Any, int] = defaultdict(int)
    for cell in found:
        sums[cell.group] += getattr(cell, measure)
    return sums
