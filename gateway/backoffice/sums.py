"""Sums of the roll-up over all accounts: whole ended days from their folds, everything else from the quarters.

Both give the same sums; a fold is only shorter. Amounts are micro-dollars, times milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, Sum

from billing.models import UsageBucket, UsageHouseDay
from billing.usage_days import day_start

DAY = timedelta(days=1)
Points = list[tuple[datetime, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The two halves of a span: neither holds what the other does."""

    days: QuerySet[UsageHouseDay]
    quarters: QuerySet[UsageBucket]

    def filter(self, **columns: Any) -> Parts:
        return Parts(self.days.filter(**columns), self.quarters.filter(**columns))

    def none(self) -> Parts:
        return Parts(self.days.none(), self.quarters.none())


def usage_parts(start: datetime, end: datetime, *, through: date | None, split: frozenset[date] = frozenset()) -> Parts:
    """From `start` (inclusive) to `end` (exclusive). Days are folded up to `through` (usage_days.house_folded_through);
    None reads every quarter. The days of `split` are needed by the quarter."""
    whole = _whole_days(start, end, through) - split if through else set()
    if not whole:
        everything = UsageBucket.objects.filter(bucket__gte=start, bucket__lt=end)
        return Parts(UsageHouseDay.objects.none(), everything)
    first, last = min(whole), max(whole)
    apart = {day for day in split if first < day < last}
    days = UsageHouseDay.objects.filter(day__gte=first, day__lte=last).exclude(day__in=apart)
    quarters = _between(start, day_start(first, "UTC")) | _between(day_start(last + DAY, "UTC"), end)
    for day in sorted(apart):
        quarters |= _between(day_start(day, "UTC"), day_start(day + DAY, "UTC"))
    return Parts(days, UsageBucket.objects.filter(quarters))


def _whole_days(start: datetime, end: datetime, through: date) -> set[date]:
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    begin = first.date() if first == day_start(first.date(), "UTC") else first.date() + DAY
    count = (min(last.date(), through + DAY) - begin).days
    return {begin + DAY * number for number in range(max(count, 0))}


def _between(start: datetime, end: datetime) -> Q:
    return Q(bucket__gte=start, bucket__lt=end)


def points(parts: Parts, measures: Mapping[str, Sum]) -> Points:
    """The sums of each folded day, at its beginning, and of each quarter: two queries."""
    found = [(day_start(day, "UTC"), sums) for day, sums in _sums(parts.days, "day", measures).items()]
    return [*found, *_sums(parts.quarters, "bucket", measures).items()]


def grouped(parts: Parts, column: str, measures: Mapping[str, Sum]) -> dict[Any, dict[str, int]]:
    """The sums by the values of a column: two queries."""
    found = _sums(parts.days, column, measures)
    for value, sums in _sums(parts.quarters, column, measures).items():
        former = found.get(value)
        found[value] = sums if former is None else {name: former[name] + sums[name] for name in measures}
    return found


def _sums(rows: QuerySet[Any], column: str, measures: Mapping[str, Sum]) -> dict[Any, dict[str, int]]:
    named = {f"sum_{name}": measure for name, measure in measures.items()}
    return {
        row[column]: {name: row[f"sum_{name}"] or 0 for name in measures}
        for row in rows.values(column).annotate(**named).order_by()
    }
