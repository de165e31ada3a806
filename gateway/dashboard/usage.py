"""Usage: one time series with a metric and a grouping, read from the roll-ups alone, with the same numbers as CSV.

The roll-ups are fed by settlement, so that their sums are the ledger's to the micro-dollar.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet, Sum
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
_SUMS = {name: Sum(name) for name in ("calls", "images", "amount_microusd", "run_ms", "wait_ms")}


@dataclass(frozen=True, slots=True)
class Selection:
    """What the reader asks for, from the address."""

    metric: str
    group: str
    span: Range

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
    rows = buckets(request.account, selection.span)
    context = {
        "selection": selection,
        "metrics": [(key, name) for key, (name, _) in METRICS.items()],
        "groups": list(GROUPS.items()),
        "ranges": list(NAMES.items()),
        "cards": cards(rows),
        "chart": chart(request.account, rows, selection),
        "table": breakdown(request.account, rows, selection),
        "now": now,
    }
    return render(request, "dashboard/usage.html", context)


def buckets(account: Account, span: Range) -> QuerySet[UsageBucket]:
    return UsageBucket.objects.filter(account_id=account.pk, bucket__gte=span.start, bucket__lte=span.end)


def cards(rows: QuerySet[UsageBucket]) -> list[dict[str, str]]:
    total = rows.aggregate(**_SUMS)
    failed = rows.filter(status="failed").aggregate(calls=Sum("calls"))["calls"] or 0
    calls = total["calls"] or 0
    return [
        {"label": "Calls", "value": number(calls)},
        {"label": "Images delivered", "value": number(total["images"] or 0)},
        {"label": "Spend", "value": spent(total["amount_microusd"] or 0)},
        {"label": "Success rate", "value": percent((calls - failed) / calls if calls else None)},
        {"label": "Mean run time", "value": ms((total["run_ms"] or 0) / calls if calls else None)},
    ]


def chart(account: Account, rows: QuerySet[UsageBucket], selection: Selection) -> dict[str, Any]:
    """The series for templates/components/chart.html."""
    groups = _largest(rows, selection)
    steps = selection.span.steps()
    values = _values(rows, selection, groups, steps)
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


def _measured(rows: QuerySet[UsageBucket], metric: str) -> QuerySet[UsageBucket]:
    return rows.filter(status="failed") if metric == "errors" else rows


def _largest(rows: QuerySet[UsageBucket], selection: Selection) -> list[Any]:
    """The groups with most of the metric; None stands for all others, or for all when nothing is grouped."""
    if selection.group == "none":
        return [None]
    column = _column(selection.metric)
    totals = _measured(rows, selection.metric).values_list(selection.group).annotate(total=Sum(column))
    ordered = [group for group, _ in totals.order_by("-total", selection.group)]
    return ordered[:SERIES_MAX] + ([None] if len(ordered) > SERIES_MAX else []) or [None]


def _column(metric: str) -> str:
    return {"money": "amount_microusd", "images": "images", "run": "run_ms"}.get(metric, "calls")


def _values(
    rows: QuerySet[UsageBucket], selection: Selection, groups: list[Any], steps: list[datetime]
) -> dict[Any, list[tuple[int, int]]]:
    """Per group, per step: the metric's sum and the calls behind it."""
    place = {step: i for i, step in enumerate(steps)}
    values: dict[Any, list[tuple[int, int]]] = {group: [(0, 0)] * len(steps) for group in groups}
    names = ["bucket"] if selection.group == "none" else ["bucket", selection.group]
    sums = _measured(rows, selection.metric).values_list(*names)
    for *key, total, calls in sums.annotate(total=Sum(_column(selection.metric)), made=Sum("calls")):
        group = key[1] if len(key) > 1 and key[1] in values else None
        at = place.get(selection.span.step_of(key[0]))
        if at is not None and group in values:
            sum_before, calls_before = values[group][at]
            values[group][at] = (sum_before + total, calls_before + calls)
    return values


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
    sources = {"free_day": "Free calls", "allowance": "Plan's calls", "unlimited": "Plan, unlimited", "funds": "Funds"}
    known: dict[str, dict[Any, str]] = {"key_id": keys, "source": sources}
    names = known.get(group, {})
    return ["All others" if value is None else str(names.get(value, value)) for value in values]


def breakdown(account: Account, rows: QuerySet[UsageBucket], selection: Selection) -> list[dict[str, Any]]:
    """Totals per group, largest spend first, as the table below the chart."""
    group = "model_id" if selection.group == "none" else selection.group
    sums = list(rows.values(group).annotate(**_SUMS).order_by("-amount_microusd", "-calls")[:100])
    names = _names(account, group, [row[group] for row in sums])
    return [{"name": name, **row} for name, row in zip(names, sums, strict=True)]


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
