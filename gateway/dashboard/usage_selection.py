"""What a reader of usage asks for, from the fields of an address or of an API call: metric, grouping, span."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.entitlements import month_end, month_of
from billing.models import Subscription
from gateway.dashboard.ranges import CUSTOM, NAMES, Range
from gateway.dashboard.usage_sums import DIMENSIONS

METRICS = {
    "calls": (_("Calls"), "calls"),
    "images": (_("Images"), "images"),
    "money": (_("Spend"), "usd"),
    "errors": (_("Failed calls"), "calls"),
    "wait": (_("Mean wait"), "ms"),
    "run": (_("Mean run time"), "ms"),
}
GROUPS = {
    "none": _("Together"),
    "model_id": _("Model"),
    "key_id": _("Key"),
    "endpoint": _("Endpoint"),
    "size": _("Size"),
    "source": _("Paid by"),
    "status": _("Status"),
}
PARTS = {
    "model_id": _("By model"),
    "key_id": _("By key"),
    "endpoint": _("By endpoint"),
    "size": _("By size"),
    "source": _("By what pays"),
    "status": _("By status"),
}
CYCLES = {"cycle": _("This cycle"), "last": _("Last cycle")}
RANGES = NAMES | CYCLES


@dataclass(frozen=True, slots=True)
class Selection:
    """One view of an account's usage."""

    metric: str
    group: str
    span: Range

    @property
    def part(self) -> str:
        """What the sums are taken by: models where the chart shows everything together."""
        return "model_id" if self.group == "none" else self.group

    @property
    def part_name(self) -> str:
        return str(GROUPS[self.part])

    @property
    def part_title(self) -> str:
        return str(PARTS[self.part])

    @property
    def title(self) -> str:
        span = RANGES.get(self.span.key, gettext("Chosen span"))
        return f"{METRICS[self.metric][0]}: {span}"

    @property
    def query(self) -> dict[str, str]:
        """The fields that ask for the same again."""
        fields = {"metric": self.metric, "group": self.group, "range": self.span.key}
        if self.span.key == CUSTOM:
            fields |= {"from": str(int(self.span.start.timestamp())), "to": str(int(self.span.end.timestamp()))}
        return fields


def selection_parse(given: Mapping[str, Any], *, account_id: int, now: datetime, zone: tzinfo) -> Selection:
    """Unknown words mean the usual ones: calls, together, 7 days."""
    metric, group = str(given.get("metric", "")), str(given.get("group", ""))
    return Selection(
        metric=metric if metric in METRICS else "calls",
        group=group if group in DIMENSIONS else "none",
        span=span_parse(given, account_id=account_id, now=now, zone=zone),
    )


def span_parse(given: Mapping[str, Any], *, account_id: int, now: datetime, zone: tzinfo) -> Range:
    key = str(given.get("range", ""))
    start, end = moment_of(given.get("from"), zone), moment_of(given.get("to"), zone)
    if key in ("", CUSTOM) and start is not None:
        until = end or now
        return Range.between(CUSTOM, min(start, until), max(start, until), zone=zone)
    if key in CYCLES:
        return Range.between(key, *cycle(key, account_id=account_id, now=now), zone=zone)
    return Range.parse(key, now=now, zone=zone)


def moment_of(value: Any, zone: tzinfo) -> datetime | None:
    """Seconds of the epoch, or a date with or without a time (in the reader's zone where it names none)."""
    text = str(value or "").strip()
    try:
        if text.isdecimal():
            return datetime.fromtimestamp(int(text), tz=UTC).astimezone(zone)
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return moment if 1970 < moment.year < 9000 else None
    except (ValueError, OverflowError, OSError):
        return None


def cycle(key: str, *, account_id: int, now: datetime) -> tuple[datetime, datetime]:
    """The subscription's paid period, else the UTC month: the one that runs (up to now), or the one before it."""
    paid = Subscription.objects.filter(account_id=account_id, period_start__lte=now, period_end__gt=now)
    current = paid.order_by("-period_start").first()
    start = (current and current.period_start) or month_of(now)
    end = (current and current.period_end) or month_end(now)
    return (start, min(end, now)) if key == "cycle" else (month_earlier(start), start)


def month_earlier(moment: datetime) -> datetime:
    """The same day and time of the month before, or that month's last day."""
    year, month = divmod(moment.year * 12 + moment.month - 2, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)
