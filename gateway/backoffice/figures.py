"""The operator's sums over a span of time and the one before it: money from the ledger, calls from the roll-ups.

Reads only, and never raw generations: a page costs the same whatever was rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import BooleanField, Case, Count, Q, Sum, Value, When

from accounts.models import Account, User
from billing.models import EntryKind, LedgerEntry, Source, UsageBucket
from gateway.backoffice.sums import grouped, points, usage_parts
from inference.models import RenderWorker

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
RETURNED = (EntryKind.REFUND, EntryKind.REFUND_REVERSED, EntryKind.DISPUTE, EntryKind.DISPUTE_WON)
GIVEN = (EntryKind.GRANT, EntryKind.ADJUSTMENT)


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, and as much time before it, all aware."""

    label: str
    before_start: datetime
    before_end: datetime
    start: datetime
    end: datetime


def spans(now: datetime) -> tuple[Span, ...]:
    """Today with yesterday until this hour; the last 7 and 30 days with those before them. Days are UTC."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day = timedelta(days=1)
    return (
        Span("Today", midnight - day, now - day, midnight, now),
        *(Span(f"{n} days", now - 2 * n * day, now - n * day, now - n * day, now) for n in (7, 30)),
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
    gpu_time_ms: int = 0
    run_ms: int = 0
    calls: int = 0
    failed: int = 0
    images: int = 0

    @property
    def margin_microusd(self) -> int:
        """What was charged, less what its pictures and the free ones cost to render."""
        return self.charged_microusd - self.gpu_microusd

    @property
    def error_share(self) -> float | None:
        return self.failed / self.calls if self.calls else None


def gpu_cost_microusd(gpu_time_ms: int, *, per_hour_microusd: int) -> int:
    """Measured render time at the fleet's mean hourly cost; cut, not rounded."""
    return gpu_time_ms * per_hour_microusd // MS_PER_HOUR


def fleet_cost_microusd_per_hour() -> int:
    """The mean hourly cost of the render workers that state one, lost ones too: their pictures were paid for."""
    costs = list(RenderWorker.objects.filter(cost_microusd_per_hour__gt=0).values_list("cost_microusd_per_hour"))
    return sum(cost for (cost,) in costs) // len(costs) if costs else 0


def compared(periods: tuple[Span, ...], *, per_hour_microusd: int) -> list[tuple[Sums, Sums]]:
    """Each span and the one before it. Calls are read once for all of them, money once for each."""
    windows = [(one.before_start, one.before_end, one.start, one.end) for one in periods]
    edges = frozenset(moment.astimezone(UTC).date() for window in windows for moment in window)
    first, last = min(window[0] for window in windows), max(window[3] for window in windows)
    found = points(usage_parts(first, last, split=edges), MEASURES)
    pairs = []
    for span in periods:
        money = _money(span)
        pairs.append(
            (
                _sums(_within(found, span.start, span.end), money[False], per_hour_microusd),
                _sums(_within(found, span.before_start, span.before_end), money[True], per_hour_microusd),
            )
        )
    return pairs


def _within(found: list[tuple[datetime, dict[str, int]]], start: datetime, end: datetime) -> dict[str, int]:
    inside = [sums for moment, sums in found if start <= moment < end]
    return {name: sum(sums[name] for sums in inside) for name in MEASURES}


def _sums(calls: dict[str, int], money: dict[str, int], per_hour_microusd: int) -> Sums:
    gpu_microusd = gpu_cost_microusd(calls["gpu_time_ms"], per_hour_microusd=per_hour_microusd)
    return Sums(**calls, **money, gpu_microusd=gpu_microusd)


def _earlier(field: str, span: Span) -> Case:
    return Case(
        When(**{f"{field}__lt": span.start}, then=Value(True)), default=Value(False), output_field=BooleanField()
    )


def _money(span: Span) -> dict[bool, dict[str, int]]:
    rows = LedgerEntry.objects.exclude(kind=EntryKind.CAPTURE).filter(
        created_at__gte=span.before_start, created_at__lte=span.end
    )
    found: dict[bool, dict[str, int]] = {when: dict.fromkeys(_MONEY, 0) for when in (False, True)}
    inside = Q(created_at__gte=span.start) | Q(created_at__lte=span.before_end)
    sums = rows.filter(inside).annotate(earlier=_earlier("created_at", span))
    for row in sums.values("earlier", "kind").annotate(total=Sum("amount_microusd")).order_by():
        for name, kinds in _MONEY.items():
            if row["kind"] in kinds:
                found[row["earlier"]][name] += row["total"]
    return found


_MONEY = {"added_microusd": (EntryKind.TOP_UP,), "granted_microusd": GIVEN, "returned_microusd": RETURNED}


@dataclass(frozen=True, slots=True)
class Top:
    """One line of a list of the largest."""

    key: int | str
    name: str
    calls: int
    images: int
    charged_microusd: int
    failed: int = 0


def top(field: str, *, since: datetime, until: datetime, limit: int) -> list[Top]:
    """The largest by what they were charged, then by calls. `field` is a column of the roll-up."""
    rows = grouped(usage_parts(since, until), field, MEASURES)
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


def funnel(*, since: datetime) -> list[Step]:
    """Of the accounts opened since then: how many made a call, and how many paid."""
    accounts = Account.objects.filter(created_at__gte=since)
    people = User.objects.filter(date_joined__gte=since)
    signed = people.aggregate(all=Count("pk"), sure=Count("pk", filter=Q(emailaddress__verified=True), distinct=True))
    opened = accounts.values("pk")
    called = UsageBucket.objects.filter(account_id__in=opened).values("account_id").distinct().count()
    paid = LedgerEntry.objects.filter(kind=EntryKind.TOP_UP, wallet_id__in=opened).values("wallet_id").distinct()
    return [
        Step("Signed up", signed["all"]),
        Step("Confirmed", signed["sure"]),
        Step("First call", called),
        Step("First payment", paid.count()),
    ]


def change(now: int, before: int) -> float | None:
    """How much more than before, as a share; None without anything before."""
    return (now - before) / abs(before) if before else None
