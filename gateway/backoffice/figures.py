"""The operator's sums over a span of time and the one before it: money from the ledger, calls from the roll-ups.

Reads only, and never raw generations: a page costs the same whatever was rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import BooleanField, Case, Count, Q, QuerySet, Sum, Value, When

from accounts.models import Account, User
from billing.models import EntryKind, LedgerEntry, Source, UsageBucket
from inference.models import RenderWorker

MS_PER_HOUR = 3_600_000
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


def compared(span: Span, *, per_hour_microusd: int) -> tuple[Sums, Sums]:
    """The span and the one before it: two queries."""
    calls = _usage(UsageBucket.objects.all(), span)
    money = _money(span)
    made = [
        Sums(
            **calls[when],
            **money[when],
            gpu_microusd=gpu_cost_microusd(calls[when].get("gpu_time_ms", 0), per_hour_microusd=per_hour_microusd),
        )
        for when in (False, True)
    ]
    return made[0], made[1]


def _earlier(field: str, span: Span) -> Case:
    return Case(
        When(**{f"{field}__lt": span.start}, then=Value(True)), default=Value(False), output_field=BooleanField()
    )


def _within(field: str, span: Span) -> Q:
    return Q(**{f"{field}__gte": span.start, f"{field}__lte": span.end}) | Q(
        **{f"{field}__gte": span.before_start, f"{field}__lte": span.before_end}
    )


def _usage(rows: QuerySet[UsageBucket], span: Span) -> dict[bool, dict[str, int]]:
    # The outer bounds stand alone so that an index on the bucket is used.
    rows = rows.filter(bucket__gte=span.before_start, bucket__lte=span.end).filter(_within("bucket", span))
    found: dict[bool, dict[str, int]] = {False: {}, True: {}}
    sums = rows.annotate(earlier=_earlier("bucket", span)).values("earlier")
    for row in sums.annotate(
        calls_=Sum("calls"),
        images_=Sum("images"),
        failed_=Sum("calls", filter=Q(status="failed")),
        charged=Sum("amount_microusd"),
        free=Sum("list_price_microusd", filter=Q(source=Source.FREE_DAY)),
        gpu=Sum("gpu_time_ms"),
        run=Sum("run_ms"),
    ).order_by():
        found[row["earlier"]] = {
            "calls": row["calls_"],
            "images": row["images_"],
            "failed": row["failed_"] or 0,
            "charged_microusd": row["charged"],
            "free_microusd": row["free"] or 0,
            "gpu_time_ms": row["gpu"],
            "run_ms": row["run"],
        }
    return found


def _money(span: Span) -> dict[bool, dict[str, int]]:
    rows = LedgerEntry.objects.exclude(kind=EntryKind.CAPTURE).filter(
        created_at__gte=span.before_start, created_at__lte=span.end
    )
    found: dict[bool, dict[str, int]] = {when: dict.fromkeys(_MONEY, 0) for when in (False, True)}
    sums = rows.filter(_within("created_at", span)).annotate(earlier=_earlier("created_at", span))
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


def top(field: str, *, since: datetime, limit: int) -> list[Top]:
    """The largest by what they were charged, then by calls. `field` is a column of the roll-up."""
    rows = UsageBucket.objects.filter(bucket__gte=since).values(field)
    sums = rows.annotate(
        made=Sum("calls"),
        drawn=Sum("images"),
        charged=Sum("amount_microusd"),
        bad=Sum("calls", filter=Q(status="failed")),
    )
    largest = sums.order_by("-charged", "-made", field)[:limit]
    return [
        Top(row[field], str(row[field]), row["made"], row["drawn"], row["charged"], row["bad"] or 0) for row in largest
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
