"""Spans of time on the usage page: which quarters of an hour they cover, and how those fold into hours and days of the
reader's zone. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

SPANS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30), "90d": timedelta(days=90)}
NAMES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
HOURLY_UP_TO = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Range:
    """From `start` (inclusive) to `end`, both aware; shown in hours or in days of `zone`."""

    key: str
    start: datetime
    end: datetime
    hourly: bool
    zone: tzinfo

    @classmethod
    def parse(cls, key: str, *, now: datetime, zone: tzinfo) -> Range:
        """A known key, else 7 days. The start is the beginning of an hour or of a day there."""
        key = key if key in SPANS else "7d"
        hourly = SPANS[key] <= HOURLY_UP_TO
        first = now - SPANS[key] + (timedelta(hours=1) if hourly else timedelta(days=1))
        return cls(key=key, start=step_start(first, hourly=hourly, zone=zone), end=now, hourly=hourly, zone=zone)

    def steps(self) -> list[datetime]:
        """The start of every hour or day from start to end: days have 23 to 25 hours where clocks change."""
        found = [self.start]
        while (following := step_next(found[-1], hourly=self.hourly, zone=self.zone)) <= self.end:
            found.append(following)
        return found

    def step_of(self, bucket: datetime) -> datetime:
        return step_start(bucket, hourly=self.hourly, zone=self.zone)


def step_start(moment: datetime, *, hourly: bool, zone: tzinfo) -> datetime:
    """The beginning of the hour or day, there, that `moment` falls into."""
    local = moment.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    return local if hourly else local.replace(hour=0, fold=0)


def step_next(start: datetime, *, hourly: bool, zone: tzinfo) -> datetime:
    """The beginning of the next hour or day: an hour is a span, a day is a date."""
    if hourly:
        utc = start.timestamp() + 3600
        return step_start(datetime.fromtimestamp(utc, tz=zone), hourly=True, zone=zone)
    following = start.date() + timedelta(days=1)
    return datetime(following.year, following.month, following.day, tzinfo=zone)
