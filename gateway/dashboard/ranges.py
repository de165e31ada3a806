"""Spans of time on the usage pages: which quarters of an hour they cover, and how those fold into hours, days, weeks or
months of the reader's zone. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from django.utils.translation import gettext_lazy as _

Unit = Literal["quarter", "hour", "day", "week", "month"]
QUARTER = timedelta(minutes=15)
SPANS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
NAMES = {"1h": _("1 hour"), "24h": _("24 hours"), "7d": _("7 days"), "30d": _("30 days"), "90d": _("90 days")}
# The longest span in which each unit still gives a chart that can be read.
UNITS: tuple[tuple[timedelta, Unit], ...] = (
    (timedelta(hours=3), "quarter"),
    (timedelta(days=2, hours=1), "hour"),
    (timedelta(days=64), "day"),
    (timedelta(days=400), "week"),
)
CUSTOM = "custom"
LONGEST = timedelta(days=5 * 366)


@dataclass(frozen=True, slots=True)
class Range:
    """From `start` (inclusive) to `end` (exclusive), both aware; shown in `unit`s of `zone`."""

    key: str
    start: datetime
    end: datetime
    unit: Unit
    zone: tzinfo

    @classmethod
    def parse(cls, key: str, *, now: datetime, zone: tzinfo) -> Range:
        """A known key, else 7 days. The start is the beginning of a quarter, an hour or a day there; the end is that of
        the quarter that runs."""
        key = key if key in SPANS else "7d"
        unit = unit_for(SPANS[key])
        backwards = {"quarter": QUARTER, "hour": timedelta(hours=1)}.get(unit, timedelta(days=1))
        first = now - SPANS[key] + backwards
        floor: Unit = unit if unit in ("quarter", "hour") else "day"
        return cls(key, step_start(first, unit=floor, zone=zone), quarter_end(now), unit, zone)

    @classmethod
    def between(cls, key: str, start: datetime, end: datetime, *, zone: tzinfo) -> Range:
        """Any span, widened to whole quarters, at least one and at most LONGEST."""
        start = step_start(start, unit="quarter", zone=zone)
        end = max(quarter_end(end - timedelta(microseconds=1)), start + QUARTER)
        end = min(end, start + LONGEST)
        return cls(key, start, end, unit_for(end - start), zone)

    @property
    def hourly(self) -> bool:
        return self.unit in ("quarter", "hour")

    def steps(self) -> list[datetime]:
        """The start of every step: days have 23 to 25 hours where clocks change, and the first step may be a part."""
        found = [self.start]
        while (following := step_next(found[-1], unit=self.unit, zone=self.zone)) < self.end:
            found.append(following)
        return found


def unit_for(span: timedelta) -> Unit:
    return next((unit for longest, unit in UNITS if span <= longest), "month")


def quarter_end(moment: datetime) -> datetime:
    """The end of the quarter of an hour that `moment` falls into."""
    return step_start(moment, unit="quarter", zone=UTC) + QUARTER


def step_start(moment: datetime, *, unit: Unit, zone: tzinfo) -> datetime:
    """The beginning of the quarter, hour, day, week (Monday) or month, there, that `moment` falls into."""
    local = moment.astimezone(zone)
    local = local.replace(minute=local.minute - local.minute % 15, second=0, microsecond=0)
    if unit == "quarter":
        return local
    if unit == "hour":
        return local.replace(minute=0)
    day = local.date()
    if unit == "week":
        day -= timedelta(days=day.weekday())
    if unit == "month":
        day = day.replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def step_next(start: datetime, *, unit: Unit, zone: tzinfo) -> datetime:
    """The beginning of the step after the one that `start` lies in: an hour is a span, a day is a date."""
    if unit in ("quarter", "hour"):
        span = QUARTER if unit == "quarter" else timedelta(hours=1)
        return step_start(start.astimezone(UTC) + span, unit=unit, zone=zone)
    day = start.astimezone(zone).date()
    if unit == "day":
        day += timedelta(days=1)
    elif unit == "week":
        day += timedelta(days=7 - day.weekday())
    else:
        day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone)
