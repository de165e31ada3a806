"""The status page's memory: each minute's probes are counted by day, and a part that is down opens an incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.entitlements import day_of
from gateway.models import Incident, ProbeDay
from gateway.site.status import Report

DAYS = 60
KEPT = timedelta(days=120)
NEWEST = 20
_COUNTED = ("ok", "slow", "down")


@transaction.atomic
def record(report: Report) -> None:
    """Count the report's probes and open or end incidents."""
    day, now = day_of(report.asked_at), report.asked_at
    for probe in report.probes:
        if probe.state not in _COUNTED:
            continue
        ProbeDay.objects.get_or_create(part=probe.name, day=day)
        ProbeDay.objects.filter(part=probe.name, day=day).update(**{probe.state: F(probe.state) + 1})
        running = Incident.objects.filter(part=probe.name, ended_at=None)
        if probe.state != "down":
            running.update(ended_at=now)
        elif not running.exists():
            Incident.objects.create(part=probe.name, began_at=now, detail=probe.detail[:200])
    ProbeDay.objects.filter(day__lt=day_of(now - KEPT)).delete()


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of one part. `tone` is ok, warn, bad or none (nothing was measured)."""

    day: date
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class PartHistory:
    name: str
    bars: list[Bar]
    # Between 0 and 1 over the measured probes; None without any.
    share: float | None


def history(names: list[str], *, now: datetime) -> list[PartHistory]:
    """The last DAYS days of each part, the oldest first."""
    days = [day_of(now) - timedelta(days=back) for back in reversed(range(DAYS))]
    rows = {(row.part, row.day): row for row in ProbeDay.objects.filter(day__gte=days[0], part__in=names)}
    return [_part(name, [(day, rows.get((name, day))) for day in days]) for name in names]


def _part(name: str, days: list[tuple[date, ProbeDay | None]]) -> PartHistory:
    measured = [row for _, row in days if row]
    total = sum(row.ok + row.slow + row.down for row in measured)
    up = sum(row.ok + row.slow for row in measured)
    return PartHistory(name, [_bar(day, row) for day, row in days], up / total if total else None)


def _bar(day: date, row: ProbeDay | None) -> Bar:
    if row is None or not row.ok + row.slow + row.down:
        return Bar(day, "none", _("not measured"))
    if row.down:
        facts = {"count": row.down, "all": row.ok + row.slow + row.down}
        return Bar(day, "bad", _("down for %(count)s of %(all)s probes") % facts)
    if row.slow:
        slow = ngettext("slow for one probe", "slow for %(count)s probes", row.slow)
        return Bar(day, "warn", slow % {"count": row.slow})
    return Bar(day, "ok", _("worked"))


def incidents() -> list[Incident]:
    """The newest first."""
    return list(Incident.objects.order_by("-began_at")[:NEWEST])
