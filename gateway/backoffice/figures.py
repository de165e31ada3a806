"""The operator's sums over a span of time and the one before it: money from the ledger, calls from the roll-ups.

Reads only, and never raw generations: a page costs the same whatever was rendered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from allauth.account.models import EmailAddress
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum, Value

from accounts.models import Account, User
from billing.models import EntryKind, FeeCursor, LedgerEntry, ProviderFee, Source, UsageBucket
from billing.money import microusd_from_cents
from billing.revenue import GIVEN, PAID_IN, RETURNED
from billing.usage_days import day_start
from gateway.backoffice.sums import DAY, Points, grouped, points, usage_parts
from gateway.caching import TtlCache
from inference.models import RenderWorker

# What was settled on an ended day never changes; a cut day is looked at again on the days after.
_ended_days: TtlCache[date, Points] = TtlCache(ttl_s=3600.0, entries_max=8, watched=False)
MS_PER_HOUR = 3_600_000
MEASURES: dict[str, Sum] = {
    "calls": Sum("calls"),
    "images": Sum("images"),
    "failed": Sum("calls", filter=Q(status="failed")),
    "charged_microusd": Sum("amount_microusd"),
    "free_microusd": Sum("list_price_microusd", filter=Q(source=Source.FREE_DAY)),
    "gpu_time_ms": Sum("gpu_time_ms"),
    "run_ms": Sum("run_ms"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, and as much time before it, all aware."""

    label: str
    before_start: datetime
    before_end: datetime
    start: datetime
    end: datetime


def spans(now: datetime) -> tuple[Span, ...]:
    """Today, the last 7 and the last 30 days, each with as many days before it, until the same hour. Days are UTC, and
    today is one of them: so all but the edges are read from folded days."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return tuple(
        Span(label, midnight - (2 * days - 1) * DAY, now - days * DAY, midnight - (days - 1) * DAY, now)
        for label, days in (("Today", 1), ("7 days", 7), ("30 days", 30))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What happened in one span. Amounts are micro-dollars as the operator sees them: positive came in."""

    added_microusd: int = 0
    granted_microusd: int = 0
    returned_microusd: int = 0
    charged_microusd: int = 0
    free_microusd: int = 0
    gpu_microusd: int = 0
    # What the payment provider kept; None while nobody has read it.
    fees_microusd: int | None = None
    gpu_time_ms: int = 0
    run_ms: int = 0
    calls: int = 0
    failed: int = 0
    images: int = 0

    @property
    def margin_microusd(self) -> int:
        """What was charged, less what its pictures and the free ones cost to render and what payments cost."""
        return self.charged_microusd - self.gpu_microusd - (self.fees_microusd or 0)

    @property
    def error_share(self) -> float | None:
        return self.failed / self.calls if self.calls else None


def gpu_cost_microusd(gpu_time_ms: int, *, per_hour_microusd: int) -> int:
    """Measured render time at the fleet's mean hourly cost; cut, not rounded."""
    return gpu_time_ms * per_hour_microusd // MS_PER_HOUR


def fleet_cost_microusd_per_hour() -> int:
    return mean_cost_microusd(RenderWorker.objects.values_list("cost_microusd_per_hour", flat=True))


def mean_cost_microusd(per_hour: Iterable[int]) -> int:
    """The mean hourly cost of the render workers that state one, lost ones too: their pictures were paid for."""
    stated = [cost for cost in per_hour if cost > 0]
    return sum(stated) // len(stated) if stated else 0


def calls_over(periods: tuple[Span, ...], through: date | None) -> Points:
    """The calls of all the spans and of those before them, so fine that each can be cut out: two queries, and one for
    each ended day that a span's end cuts, of which this process then remembers the quarters. `through` as for
    `usage_parts`."""
    ends = frozenset(end.astimezone(UTC).date() for one in periods for end in (one.before_end, one.end))
    ended = frozenset(day for day in ends if through is not None and day <= through)
    first, last = min(one.before_start for one in periods), max(one.end for one in periods)
    found = points(usage_parts(first, last, through=through, split=ends, skip=ended), MEASURES)
    for day in ended:
        found += _ended_days.get(day, partial(_quarters_of, day))
    return found


def _quarters_of(day: date) -> Points:
    start = day_start(day, "UTC")
    return points(usage_parts(start, start + DAY, through=None), MEASURES)


def compared(periods: tuple[Span, ...], calls: Points, *, per_hour_microusd: int) -> list[tuple[Sums, Sums]]:
    """Each span and the one before it, cut from `calls_over` them. Money is one query, fees another."""
    windows = [window for one in periods for window in ((one.start, one.end), (one.before_start, one.before_end))]
    sums = [
        _sums(_within(calls, start, end), money, per_hour_microusd, fees_microusd)
        for (start, end), money, fees_microusd in zip(windows, _money(windows), _fees(windows), strict=True)
    ]
    return list(zip(sums[::2], sums[1::2], strict=True))


def calls_since(calls: Points, moment: datetime) -> dict[str, int]:
    """The sums from the first whole quarter of an hour after `moment` on."""
    return _added(sums for at, sums in calls if at > moment)


def _within(calls: Points, start: datetime, end: datetime) -> dict[str, int]:
    return _added(sums for at, sums in calls if start <= at < end)


def _added(found: Iterable[dict[str, int]]) -> dict[str, int]:
    total = dict.fromkeys(MEASURES, 0)
    for sums in found:
        for name in MEASURES:
            total[name] += sums[name]
    return total


def _sums(calls: dict[str, int], money: dict[str, int], per_hour_microusd: int, fees_microusd: int | None) -> Sums:
    gpu_microusd = gpu_cost_microusd(calls["gpu_time_ms"], per_hour_microusd=per_hour_microusd)
    return Sums(**calls, **money, gpu_microusd=gpu_microusd, fees_microusd=fees_microusd)


def _money(windows: Sequence[tuple[datetime, datetime]]) -> list[dict[str, int]]:
    """What the ledger says of each window, its ends included: one query for all of them."""
    first, last = min(start for start, _ in windows), max(end for _, end in windows)
    rows = LedgerEntry.objects.exclude(kind=EntryKind.CAPTURE).filter(created_at__gte=first, created_at__lte=last)
    sums = {
        f"window_{number}": Sum("amount_microusd", filter=Q(created_at__gte=start, created_at__lte=end))
        for number, (start, end) in enumerate(windows)
    }
    by_kind = {row["kind"]: row for row in rows.values("kind").annotate(**sums).order_by()}
    return [
        {name: sum(by_kind[kind][window] or 0 for kind in kinds if kind in by_kind) for name, kinds in _MONEY.items()}
        for window in sums
    ]


def _fees(windows: Sequence[tuple[datetime, datetime]]) -> list[int | None]:
    """What the provider kept in each window, None while its list was never read."""
    if not FeeCursor.objects.exists():
        return [None] * len(windows)
    sums = {
        f"window_{number}": Sum("fee_cents", filter=Q(created_at__gte=start, created_at__lte=end))
        for number, (start, end) in enumerate(windows)
    }
    found = ProviderFee.objects.aggregate(**sums)
    return [microusd_from_cents(found[name] or 0) for name in sums]


_MONEY = {"added_microusd": PAID_IN, "granted_microusd": GIVEN, "returned_microusd": RETURNED}


@dataclass(frozen=True, slots=True)
class Top:
    """One line of a list of the largest."""

    key: int | str
    name: str
    calls: int
    images: int
    charged_microusd: int
    failed: int = 0


def top(field: str, *, since: datetime, until: datetime, through: date | None, limit: int) -> list[Top]:
    """The largest by what they were charged, then by calls. `field` is a column of the roll-up."""
    rows = grouped(usage_parts(since, until, through=through), field, MEASURES)
    largest = sorted(rows.items(), key=lambda item: (-item[1]["charged_microusd"], -item[1]["calls"], item[0]))
    return [
        Top(key, str(key), row["calls"], row["images"], row["charged_microusd"], row["failed"])
        for key, row in largest[:limit]
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way from a sign-up to a payment."""

    label: str
    count: int


# The steps of the way from a sign-up to a payment.
FUNNEL = (("signed", "Signed up"), ("sure", "Confirmed"), ("called", "First call"), ("paid", "First payment"))


def funnel_rows(*, since: datetime) -> dict[str, QuerySet[Any]]:
    """Of who came since then: the people, the confirmed ones, the accounts with a call, those that paid."""
    people, accounts = User.objects.filter(date_joined__gte=since), Account.objects.filter(created_at__gte=since)
    own = OuterRef("pk")
    return {
        "signed": people,
        "sure": people.filter(Exists(EmailAddress.objects.filter(user_id=own, verified=True))),
        "called": accounts.filter(Exists(UsageBucket.objects.filter(account_id=own))),
        "paid": accounts.filter(Exists(LedgerEntry.objects.filter(wallet_id=own, kind__in=PAID_IN))),
    }


def counted(rows: Mapping[str, QuerySet[Any]]) -> dict[str, int]:
    """How many rows each of the querysets has: one statement for all of them."""
    parts = [
        found.order_by().annotate(counted=Value(name)).values("counted").annotate(total=Count("pk"))
        for name, found in rows.items()
    ]
    first, *others = (part.values_list("counted", "total") for part in parts)
    return dict.fromkeys(rows, 0) | dict(first.union(*others, all=True))


def change(now: int, before: int) -> float | None:
    """How much more than before, as a share; None without anything before."""
    return (now - before) / abs(before) if before else None
