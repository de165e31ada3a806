"""Usage of all accounts by hour or day and any of seven dimensions, beside the span before it; the same rows as CSV.

It reads the roll-ups alone. They are written with the ledger's captures, so that sums over whole quarters are equal.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account, ApiKey
from billing.models import EntryKind, LedgerEntry, Plan, Source, UsageBucket
from billing.money import usd_text
from billing.usage_days import house_folded_through
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.home import change_text
from gateway.backoffice.navigation import console_render
from gateway.backoffice.sums import Parts, Points, grouped, points, usage_parts
from gateway.dashboard.ranges import NAMES, Range, step_next
from gateway.dashboard.usage import METRICS, neutral
from gateway.models import AuditRun
from gateway.templatetags.units import ms, number, spent
from inference.models import UNSETTLED, GenerationState

# The name in the address, the column, the words.
DIMENSIONS = {
    "model": ("model_id", "Model"),
    "plan": ("plan_code", "Plan"),
    "account": ("account_id", "Account"),
    "key": ("key_id", "Key"),
    "endpoint": ("endpoint", "Endpoint"),
    "status": ("status", "Status"),
    "source": ("source", "Paid by"),
}
NUMBERED = frozenset({"account", "key"})
STEPS = {"hour": "Hour", "day": "Day"}
ROWS_MAX = 200
# More points than this say nothing on a screen: longer spans go by the day.
HOURS_MAX = 24 * 7 + 1
SUMS = ("calls", "images", "amount_microusd", "list_price_microusd", "run_ms", "gpu_time_ms")
MEASURES: dict[str, Sum] = {name: Sum(name) for name in SUMS} | {"failed": Sum("calls", filter=Q(status="failed"))}


@dataclass(frozen=True, slots=True)
class Selection:
    """What the reader asks for, all of it in the address."""

    span: Range
    metric: str
    group: str
    filters: dict[str, str]

    @classmethod
    def parse(cls, request: StaffRequest, now: datetime) -> Selection:
        span = Range.parse(request.GET.get("range", ""), now=now, zone=UTC)
        step = request.GET.get("step", "")
        if not span.hourly:
            span = Range(key=span.key, start=span.start, end=span.end, unit="day", zone=UTC)
        if step == "hour" and (now - span.start).total_seconds() / 3600 <= HOURS_MAX:
            span = Range(key=span.key, start=span.start, end=span.end, unit="hour", zone=UTC)
        asked = {name: request.GET.get(name, "").strip()[:120] for name in DIMENSIONS}
        metric, group = request.GET.get("metric", ""), request.GET.get("group", "")
        return cls(
            span=span,
            metric=metric if metric in METRICS else "calls",
            group=group if group in DIMENSIONS else "model",
            filters={name: value for name, value in asked.items() if value},
        )

    @property
    def before(self) -> tuple[datetime, datetime]:
        """As long a span, just before this one."""
        return self.span.start - (self.span.end - self.span.start), self.span.start

    @property
    def columns(self) -> dict[str, str] | None:
        """The filters by column; None when a number is asked for that is none, which nothing fits."""
        if any(not (self.filters[name].isdecimal() and len(self.filters[name]) < 19) for name in self.numbered):
            return None
        return {DIMENSIONS[name][0]: value for name, value in self.filters.items()}

    @property
    def numbered(self) -> frozenset[str]:
        return NUMBERED & set(self.filters)

    def parts(self, start: datetime, end: datetime, *, through: date | None) -> Parts:
        """The rows of a span, with days folded up to `through`."""
        found = usage_parts(start, end, through=through)
        columns = self.columns
        return found.none() if columns is None else found.filter(**columns)


@staff_page(section="usage", needs=Permission.LOOK)
@require_safe
def usage(request: StaffRequest) -> HttpResponse:
    now = timezone.now()
    chosen = Selection.parse(request, now)
    # An hourly chart needs every quarter.
    through = None if chosen.span.hourly else house_folded_through()
    current = chosen.parts(chosen.span.start, now, through=through)
    earlier = chosen.parts(*chosen.before, through=through)
    drawn, drawn_before = points(current, MEASURES), points(earlier, MEASURES)
    total, before = totals(drawn), totals(drawn_before)
    context = {
        "chosen": chosen,
        "now": now,
        "step": "hour" if chosen.span.hourly else "day",
        "steps": list(STEPS.items()),
        "ranges": list(NAMES.items()),
        "metrics": [(key, name) for key, (name, _) in METRICS.items()],
        "dimensions": [(key, words, chosen.filters.get(key, "")) for key, (_, words) in DIMENSIONS.items()],
        "known": known_values(now),
        "cards": cards(total, before),
        "chart": chart(drawn, drawn_before, chosen),
        "table": breakdown(current, earlier, chosen),
        "group_name": DIMENSIONS[chosen.group][1],
        "ledger": ledger_of(chosen, total, now) if request.GET.get("prove") else None,
        "proof": AuditRun.objects.order_by("-id").only("ran_at", "differences").first(),
        "provable": not set(chosen.filters) - {"account"},
    }
    return console_render(request, "backoffice/usage.html", context)


def known_values(now: datetime) -> dict[str, list[str]]:
    """What the fields of some dimensions can hold: offered while somebody types."""
    plans = Plan.objects.filter(effective_from__lte=now).order_by("code").values_list("code", flat=True).distinct()
    ends = [state.value for state in GenerationState if state not in UNSETTLED]
    return {"plan": list(plans), "status": ends, "source": list(Source.values)}


def account_chart(account_id: int, now: datetime) -> dict[str, Any]:
    """One account's calls of 30 days, day by day."""
    span = Range.parse("30d", now=now, zone=UTC)
    chosen = Selection(span=span, metric="calls", group="model", filters={"account": str(account_id)})
    through = house_folded_through()
    current, earlier = chosen.parts(span.start, now, through=through), chosen.parts(*chosen.before, through=through)
    return chart(points(current, MEASURES), points(earlier, MEASURES), chosen)


def totals(found: Points) -> dict[str, int]:
    return {name: sum(sums[name] for _, sums in found) for name in MEASURES}


def cards(total: dict[str, int], before: dict[str, int]) -> list[dict[str, str]]:
    shown = (
        ("Calls", "calls", number),
        ("Images", "images", number),
        ("Charged", "amount_microusd", spent),
        ("At list price", "list_price_microusd", spent),
        ("Render time", "gpu_time_ms", ms),
    )
    cells = []
    for label, name, text in shown:
        change = change_text(total[name], before[name])
        note = f"{change} against {text(before[name])} before" if change not in ("", "new") else "nothing before"
        cells.append({"label": label, "value": text(total[name]), "note": note})
    return cells


def ledger_of(chosen: Selection, total: dict[str, int], now: datetime) -> dict[str, Any] | None:
    """The captures of the same span, where the filters are such that the ledger knows them: none, or one account."""
    if set(chosen.filters) - {"account"}:
        return None
    entries = LedgerEntry.objects.filter(kind=EntryKind.CAPTURE, created_at__gte=chosen.span.start, created_at__lt=now)
    if "account" in chosen.filters and chosen.filters["account"].isdecimal():
        entries = entries.filter(wallet_id=int(chosen.filters["account"]))
    taken = -(entries.aggregate(total=Sum("amount_microusd"))["total"] or 0)
    return {"amount_microusd": taken, "equal": taken == total["amount_microusd"]}


COLUMNS = {"money": "amount_microusd", "images": "images", "run": "run_ms", "errors": "failed"}


def chart(current: Points, earlier: Points, chosen: Selection) -> dict[str, Any]:
    """Two series: this span, and the one before it laid over it step by step."""
    title, unit = METRICS[chosen.metric]
    steps = chosen.span.steps()
    series = [
        _series(current, chosen, chosen.span.start, len(steps)),
        _series(earlier, chosen, chosen.before[0], len(steps)),
    ]
    drawn = [[_plain(chosen.metric, cell) for cell in cells] for cells in series]
    return {
        "id": "usage",
        "title": f"{title}, last {NAMES[chosen.span.key]} and the same span before",
        "unit": unit,
        "zone": "UTC",
        "series": [{"label": "This span", "number": 1}, {"label": "The span before", "number": 2}],
        "data": [[int(step.timestamp()) for step in steps], *drawn],
        "rows": [
            {"time": step, "texts": [_text(chosen.metric, cells[i]) for cells in series]}
            for i, step in reversed(list(enumerate(steps)))
        ],
    }


def _series(found: Points, chosen: Selection, start: datetime, length: int) -> list[tuple[int, int]]:
    """Per step from `start`: the metric's sum, and the calls behind it."""
    column = COLUMNS.get(chosen.metric, "calls")
    step_s = (step_next(chosen.span.start, unit=chosen.span.unit, zone=UTC) - chosen.span.start).total_seconds()
    cells = [(0, 0)] * length
    for moment, sums in found:
        at = int((moment - start).total_seconds() // step_s)
        if 0 <= at < length:
            cells[at] = (cells[at][0] + sums[column], cells[at][1] + sums["calls"])
    return cells


def _plain(metric: str, cell: tuple[int, int]) -> float | int | None:
    """The number that the chart draws: dollars and milliseconds as numbers for drawing alone."""
    total, calls = cell
    if metric == "money":
        return total / 1_000_000
    return (round(total / calls) if calls else None) if metric == "run" else total


def _text(metric: str, cell: tuple[int, int]) -> str:
    total, calls = cell
    if metric == "money":
        return spent(total)
    return ms(total / calls if calls else None) if metric == "run" else number(total)


def breakdown(current: Parts, earlier: Parts, chosen: Selection) -> list[dict[str, Any]]:
    """One row per value of the chosen dimension, the largest charges first, each with its change."""
    column = DIMENSIONS[chosen.group][0]
    sums = grouped(current, column, MEASURES)
    largest = sorted(sums, key=lambda value: (-sums[value]["amount_microusd"], -sums[value]["calls"], value))
    values = largest[:ROWS_MAX]
    before = grouped(earlier, column, MEASURES)
    nothing = dict.fromkeys(MEASURES, 0)
    names = names_of(chosen.group, values)
    return [
        {
            "value": value,
            "name": names.get(value, str(value)),
            "calls_change": change_text(sums[value]["calls"], before.get(value, nothing)["calls"]),
            "amount_change": change_text(sums[value]["amount_microusd"], before.get(value, nothing)["amount_microusd"]),
            **sums[value],
        }
        for value in values
    ]


def names_of(group: str, values: list[Any]) -> dict[Any, str]:
    """Accounts and keys by their names: one query."""
    if group == "account":
        return dict(Account.objects.filter(pk__in=values).values_list("pk", "name"))
    if group == "key":
        keys = ApiKey.objects.filter(pk__in=values).select_related("account")
        return {key.pk: f"{key.account.name}: {key.name}" for key in keys}
    return {}


@staff_page(section="usage", needs=Permission.LOOK)
@require_safe
def usage_csv(request: StaffRequest) -> StreamingHttpResponse:
    """The roll-up rows behind the page, streamed, with its filters. Formula-like texts are neutralised."""
    now = timezone.now()
    chosen = Selection.parse(request, now)
    rows = usage_parts(chosen.span.start, now, through=None)
    columns = chosen.columns
    chosen_rows = rows.quarters.none() if columns is None else rows.quarters.filter(**columns)
    response = StreamingHttpResponse(
        _csv_lines(chosen_rows.order_by("bucket", "pk")), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="usage-{chosen.span.key}.csv"'
    return response


def _csv_lines(rows: QuerySet[UsageBucket]) -> Iterator[str]:
    texts = ("account_id", "key_id", "model_id", "endpoint", "plan_code", "source", "status", "size", "calls", "images")
    yield ",".join(["bucket_utc", *texts, "amount_usd", "list_price_usd", "wait_ms", "run_ms", "gpu_time_ms"]) + "\r\n"
    fields = ("bucket", *texts, "amount_microusd", "list_price_microusd", "wait_ms", "run_ms", "gpu_time_ms")
    for bucket, *cells in rows.values_list(*fields).iterator(chunk_size=2000):
        shown, (amount, listed, *times) = cells[: len(texts)], cells[len(texts) :]
        line = io.StringIO()
        row = [bucket.isoformat(), *(neutral(cell) for cell in shown), usd_text(amount), usd_text(listed), *times]
        csv.writer(line).writerow(row)
        yield line.getvalue()
