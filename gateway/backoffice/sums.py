"""Sums of the roll-up over all accounts: whole ended days from their folds, everything else from the quarters.

Both give the same sums; a fold is only shorter. Amounts are micro-dollars, times milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias, TypeVar

from django.db.models import Q, QuerySet, Sum

from billing.models import UsageBucket, UsageHouseDay
from billing.usage_days import day_start

DAY = timedelta(days=1)
Points = list[tuple[datetime, dict[str, int]]]
Moment = TypeVar("Moment", date, datetime)
Ranges: TypeAlias = list[tuple[Moment, Moment]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The two halves of a span: neither holds what the other does."""

    days: QuerySet[UsageHouseDay]
    quarters: QuerySet[UsageBucket]

    def filter(self, **columns: Any) -> Parts:
        return Parts(self.days.filter(**columns), self.quarters.filter(**columns))

    def none(self) -> Parts:
        return Parts(self.days.none(), self.quarters.none())


def usage_parts(
    start: datetime,
    end: datetime,
    *,
    through: date | None,
    split: frozenset[date] = frozenset(),
    skip: frozenset[date] = frozenset(),
) -> Parts:
    """From `start` (inclusive) to `end` (exclusive). Whole days up to `through` (usage_days.house_folded_through) come
    folded, but those of `split` by the quarter; without `through` everything does. The days of `skip` are left out."""
    days: Ranges[date] = []
    quarters: Ranges[datetime] = []
    moment = start
    while moment < end:
        day = moment.astimezone(UTC).date()
        midnight = day_start(day + DAY, "UTC")
        whole = moment == midnight - DAY and midnight <= end
        if day in skip:
            pass
        elif whole and through is not None and day <= through and day not in split:
            _extend(days, day, day + DAY)
        else:
            _extend(quarters, moment, min(midnight, end))
        moment = midnight
    return Parts(
        UsageHouseDay.objects.filter(_within("day", days)) if days else UsageHouseDay.objects.none(),
        UsageBucket.objects.filter(_within("bucket", quarters)) if quarters else UsageBucket.objects.none(),
    )


def _extend(ranges: Ranges[Moment], start: Moment, end: Moment) -> None:
    """Add a range, to the last one where it goes on from there."""
    if ranges and ranges[-1][1] == start:
        ranges[-1] = (ranges[-1][0], end)
    else:
        ranges.append((start, end))


def _within(column: str, ranges: Ranges[Moment]) -> Q:
    found = Q()
    for start, end in ranges:
        found |= Q(**{f"{column}__gte": start, f"{column}__lt": end})
    return found


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
