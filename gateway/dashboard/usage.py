"""Usage: one time series with a metric and a grouping, read from the roll-ups alone, with the same numbers as CSV.

The roll-ups are fed by settlement, so that their sums are the ledger's to the micro-dollar.
"""

from __future__ import annotations

import csv
import functools
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import F, Func, QuerySet, Sum, TextField
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account
from accounts.selectors import keys_of
from billing.models import UsageBucket
from billing.money import usd_text
from gateway.dashboard.access import AccountRequest, account_page
from gateway.dashboard.ranges import NAMES, Range
from gateway.templatetags.units import ms, number, percent, spent

METRICS = {
    "calls": ("Calls", "calls"),
    "images": ("Images", "images"),
    "money": ("Spend", "usd"),
    "errors": ("Failed calls", "calls"),
    "run": ("Mean run time", "ms"),
}
GROUPS = {
    "none": "Together",
    "model_id": "Model",
    "key_id": "Key",
    "endpoint": "Endpoint",
    "size": "Size",
    "source": "Paid by",
    "status": "Status",
}
SERIES_MAX = 5
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = {"calls": "calls", "errors": "calls", "images": "images", "money": "amount_microusd", "run": "run_ms"}
PARTS_MAX = 100
_SUMS = {f"{name}_sum": Sum(name) for name in ("calls", "images", "amount_microusd", "run_ms")}


@dataclass(frozen=True, slots=True)
class Selection:
    """What the reader asks for, from the address."""

    metric: str
    group: str
    span: Range

    @property
    def part(self) -> str:
        """The column of the table below the chart: models where the chart shows everything together."""
        return "model_id" if self.group == "none" else self.group

    @classmethod
    def parse(cls, request: AccountRequest, now: datetime) -> Selection:
        metric, group = request.GET.get("metric", ""), request.GET.get("group", "")
        return cls(
            metric=metric if metric in METRICS else "calls",
            group=group if group in GROUPS else "none",
            span=Range.parse(request.GET.get("range", ""), now=now, zone=timezone.get_current_timezone()),
        )


@account_page(section="usage")
@require_safe
def usage(request: AccountRequest) -> HttpResponse:
    now = timezone.now()
    selection = Selection.parse(request, now)
    totals = totals_of(request.account, selection)
    context = {
        "selection": selection,
        "metrics": [(key, name) for key, (name, _) in METRICS.items()],
        "groups": list(GROUPS.items()),
        "ranges": list(NAMES.items()),
        "cards": cards(totals),
        "chart": chart(request.account, totals, selection),
        "table": breakdown(request.account, totals, selection),
        "now": now,
    }
    return render(request, "dashboard/usage.html", context)


def buckets(account: Account, span: Range) -> QuerySet[UsageBucket]:
    return UsageBucket.objects.filter(account_id=account.pk, bucket__gte=span.start, bucket__lte=span.end)


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of one group and one status over the whole span: one query, from which all but the series comes."""

    group: Any
    status: str
    calls: int
    images: int
    amount_microusd: int
    run_ms: int

    def of(self, metric: str) -> int:
        if metric == "errors":
            return self.calls if self.status == "failed" else 0
        return int(getattr(self, COLUMNS[metric]))


def totals_of(account: Account, selection: Selection) -> list[Total]:
    names = {selection.part, "status"}
    sums = buckets(account, selection.span).values(*names).annotate(**_SUMS).order_by()
    return [Total(row[selection.part], row["status"], *(row[name] for name in _SUMS)) for row in sums]


def cards(totals: list[Total]) -> list[dict[str, str]]:
    calls = sum(total.calls for total in totals)
    failed = sum(total.of("errors") for total in totals)
    run_ms = sum(total.run_ms for total in totals)
    return [
        {"label": "Calls", "value": number(calls)},
        {"label": "Images delivered", "value": number(sum(total.images for total in totals))},
        {"label": "Spend", "value": spent(sum(total.amount_microusd for total in totals))},
        {"label": "Success rate", "value": percent((calls - failed) / calls if calls else None)},
        {"label": "Mean run time", "value": ms(run_ms / calls if calls else None)},
    ]


def chart(account: Account, totals: list[Total], selection: Selection) -> dict[str, Any]:
    """The series for templates/components/chart.html."""
    groups = _largest(totals, selection)
    steps = selection.span.steps()
    values = _values(account, selection, groups, steps)
    names = _names(account, selection.group, groups)
    title, unit = METRICS[selection.metric]
    series = [[_plain(selection.metric, cell) for cell in values[group]] for group in groups]
    return {
        "id": "usage",
        "title": f"{title}, last {NAMES[selection.span.key]}",
        "unit": unit,
        "zone": str(selection.span.zone),
        "series": [{"label": name, "number": i} for i, name in enumerate(names, start=1)],
        "data": [[int(step.timestamp()) for step in steps], *series],
        "rows": [
            {"time": step, "texts": [_text(selection.metric, values[group][i]) for group in groups]}
            for i, step in reversed(list(enumerate(steps)))
        ],
    }


def _by_group(totals: list[Total], metric: str) -> dict[Any, int]:
    sums: dict[Any, int] = defaultdict(int)
    for total in totals:
        sums[total.group] += total.of(metric)
    return sums


def _largest(totals: list[Total], selection: Selection) -> list[Any]:
    """The groups with most of the metric; None stands for all others, or for all when nothing is grouped."""
    if selection.group == "none":
        return [None]
    sums = _by_group(totals, selection.metric)
    ordered = sorted((group for group in sums if sums[group]), key=lambda group: (-sums[group], str(group)))
    return ordered[:SERIES_MAX] + ([None] if len(ordered) > SERIES_MAX else []) or [None]


class HourOf(Func):
    """The hour that a quarter falls into, as text: what the database can tell without calling back into Python."""

    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="substr(%(expressions)s, 1, 13)", **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24')"
        return super().as_sql(compiler, connection, template=template, **context)


def _values(
    account: Account, selection: Selection, groups: list[Any], steps: list[datetime]
) -> dict[Any, list[tuple[int, int]]]:
    """Per group, per step: the metric's sum and the calls behind it."""
    place = {step: i for i, step in enumerate(steps)}
    values: dict[Any, list[tuple[int, int]]] = {group: [(0, 0)] * len(steps) for group in groups}
    step_of = functools.cache(selection.span.step_of)
    for moment, group, total, calls in _series(account, selection):
        at = place.get(step_of(moment))
        shown = group if group in values else None
        if at is not None and shown in values:
            sum_before, calls_before = values[shown][at]
            values[shown][at] = (sum_before + total, calls_before + calls)
    return values


def _series(account: Account, selection: Selection) -> Iterator[tuple[datetime, Any, int, int]]:
    """Quarters, or whole hours where the zone's days are made of them: a quarter of the rows."""
    rows = buckets(account, selection.span)
    if selection.metric == "errors":
        rows = rows.filter(status="failed")
    hours = all(step.astimezone(UTC).minute == 0 for step in selection.span.steps())
    moment: Any = HourOf(F("bucket")) if hours else F("bucket")
    names = ["moment"] if selection.group == "none" else ["moment", selection.group]
    sums = rows.annotate(moment=moment).values_list(*names)
    column = COLUMNS[selection.metric]
    for at, *group, total, calls in sums.annotate(total=Sum(column), made=Sum("calls")).order_by():
        yield (_hour(at) if hours else at), (group[0] if group else None), total, calls


def _hour(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H").replace(tzinfo=UTC)


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


def _names(account: Account, group: str, values: list[Any]) -> list[str]:
    if group == "none":
        return ["All calls"]
    keys = dict(keys_of(account).values_list("pk", "name")) if group == "key_id" else {}
    sources = {
        "free_day": "Free calls",
        "allowance": "Plan's calls",
        "unlimited": "Plan, unlimited",
        "funds": "Funds",
        "postpaid": "Invoiced",
    }
    known: dict[str, dict[Any, str]] = {"key_id": keys, "source": sources}
    names = known.get(group, {})
    return ["All others" if value is None else str(names.get(value, value)) for value in values]


def breakdown(account: Account, totals: list[Total], selection: Selection) -> list[dict[str, Any]]:
    """Totals per group, largest spend first, as the table below the chart."""
    sums = {column: _by_group(totals, metric) for metric, column in (("calls", "calls"), ("images", "images"))}
    money_of = _by_group(totals, "money")
    order = sorted(money_of, key=lambda group: (-money_of[group], -sums["calls"][group], str(group)))[:PARTS_MAX]
    names = _names(account, selection.part, order)
    return [
        {
            "name": name,
            "calls": sums["calls"][group],
            "images": sums["images"][group],
            "amount_microusd": money_of[group],
        }
        for name, group in zip(names, order, strict=True)
    ]


@account_page(section="usage")
@require_safe
def usage_csv(request: AccountRequest) -> StreamingHttpResponse:
    """The roll-up rows behind the page, streamed. Texts that a spreadsheet would take for formulas are neutralised."""
    span = Range.parse(request.GET.get("range", ""), now=timezone.now(), zone=timezone.get_current_timezone())
    rows = buckets(request.account, span).order_by("bucket", "pk")
    response = StreamingHttpResponse(_csv_lines(rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="usage-{span.key}.csv"'
    return response


def _csv_lines(rows: QuerySet[UsageBucket]) -> Iterator[str]:
    names = ["key_id", "model_id", "endpoint", "plan_code", "source", "status", "size", "calls", "images"]
    yield ",".join(["bucket_utc", *names, "amount_usd", "wait_ms", "run_ms"]) + "\r\n"
    fields = ["bucket", *names, "amount_microusd", "wait_ms", "run_ms"]
    for bucket, *middle, amount_microusd, wait_ms, run_ms in rows.values_list(*fields).iterator(chunk_size=2000):
        line = io.StringIO()
        cells = [bucket.isoformat(), *(neutral(cell) for cell in middle), usd_text(amount_microusd), wait_ms, run_ms]
        csv.writer(line).writerow(cells)
        yield line.getvalue()


def neutral(cell: object) -> object:
    """A text that begins like a formula gets an apostrophe before it (OWASP, "CSV injection")."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
