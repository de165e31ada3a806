"""Usage: one time series with a metric and a grouping, read from the roll-ups alone, with the same numbers as CSV.

The roll-ups are fed by settlement, so that their sums are the ledger's to the micro-dollar.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from accounts.models import Account
from accounts.selectors import keys_of
from billing.models import Allowance, UsageBucket, Wallet
from billing.money import usd_text
from gateway.dashboard.access import AccountRequest, account_page
from gateway.dashboard.overview import metrics as standing
from gateway.dashboard.pictures import WORDS
from gateway.dashboard.usage_selection import GROUPS, METRICS, RANGES, Selection, selection_parse
from gateway.dashboard.usage_sums import Cell, by_group, cells, quarters
from gateway.templatetags.units import ms, number, percent, short_day, spent

__all__ = ["METRICS", "neutral", "usage", "usage_csv"]

SERIES_MAX = 5
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = {
    "calls": "calls",
    "errors": "calls",
    "images": "images",
    "money": "amount_microusd",
    "wait": "wait_ms",
    "run": "run_ms",
}
MEANS = frozenset({"wait", "run"})
PARTS_MAX = 100
SESSION_VIEW = "usage_view"
SOURCES = {
    "free_day": _("Free calls"),
    "allowance": _("Plan's calls"),
    "unlimited": _("Plan, unlimited"),
    "funds": _("Funds"),
    "postpaid": _("Invoiced afterwards"),
}
# Columns of the roll-up that the request log can be narrowed by, under its own names.
LOG_FILTERS = {"model_id": "model", "key_id": "key", "status": "state"}


@account_page(section="usage")
@require_safe
def usage(request: AccountRequest) -> HttpResponse:
    now, zone = timezone.now(), timezone.get_current_timezone()
    selection = selection_parse(_chosen(request), account_id=request.account.pk, now=now, zone=zone)
    _remember(request, selection)
    found = cells(request.account, selection.span, selection.part)
    context = {
        "selection": selection,
        "metrics": [(key, name) for key, (name, _) in METRICS.items()],
        "groups": list(GROUPS.items()),
        "ranges": list(RANGES.items()),
        "query": urlencode(selection.query),
        "standing": [
            *standing(request.account, Wallet.objects.get(pk=request.account.pk), now=now),
            *allowance_left(request.account, now=now),
        ],
        "cards": cards(found),
        "chart": chart(request.account, found, selection),
        "table": breakdown(request.account, found, selection),
        "now": now,
    }
    return render(request, "dashboard/usage.html", context)


def _chosen(request: AccountRequest) -> dict[str, Any]:
    """What the address says, else what the person looked at last."""
    return request.GET.dict() or request.session.get(SESSION_VIEW, {})


def _remember(request: AccountRequest, selection: Selection) -> None:
    if request.GET and request.session.get(SESSION_VIEW) != selection.query:
        request.session[SESSION_VIEW] = selection.query


def allowance_left(account: Account, *, now: datetime) -> list[dict[str, object]]:
    """Calls of the paid period that are left, and how many it would have taken at its end at this pace."""
    current = Allowance.objects.filter(account_id=account.pk, period_start__lte=now, period_end__gt=now)
    found = current.order_by("-period_start").first()
    if found is None:
        return []
    gone = (now - found.period_start) / (found.period_end - found.period_start)
    expected = round(found.calls_used / gone) if gone > 0.01 else found.calls_used
    pace = gettext("at this pace %(count)s of %(limit)s by %(day)s")
    return [
        {
            "label": _("Plan's calls left"),
            "value": number(found.calls_granted - found.calls_used),
            "note": pace
            % {
                "count": number(expected),
                "limit": number(found.calls_granted),
                "day": short_day(found.period_end.astimezone(timezone.get_current_timezone())),
            },
            "share": min(100, round(100 * found.calls_used / found.calls_granted)) if found.calls_granted else 100,
        }
    ]


def cards(found: list[Cell]) -> list[dict[str, object]]:
    calls = sum(cell.calls for cell in found)
    failed = sum(cell.calls for cell in found if cell.status == "failed")
    return [
        {"label": _("Calls"), "value": number(calls)},
        {"label": _("Images delivered"), "value": number(sum(cell.images for cell in found))},
        {"label": _("Spend"), "value": spent(sum(cell.amount_microusd for cell in found))},
        {"label": _("Success rate"), "value": percent((calls - failed) / calls if calls else None)},
        {"label": _("Mean wait"), "value": ms(sum(cell.wait_ms for cell in found) / calls if calls else None)},
        {"label": _("Mean run time"), "value": ms(sum(cell.run_ms for cell in found) / calls if calls else None)},
    ]


def chart(account: Account, found: list[Cell], selection: Selection) -> dict[str, Any]:
    """The series for templates/components/chart.html."""
    steps = selection.span.steps()
    counted = [cell for cell in found if selection.metric != "errors" or cell.status == "failed"]
    groups = _largest(counted, selection)
    values = _values(counted, selection.metric, groups, len(steps))
    names = _names(account, selection.group, groups)
    ends = [*steps[1:], selection.span.end]
    return {
        "id": "usage",
        "title": selection.title,
        "empty": "" if any(total for cells in values.values() for total, _calls in cells) else _nothing(selection),
        "unit": METRICS[selection.metric][1],
        "zone": str(selection.span.zone),
        "zoom": urlencode({**selection.query, "range": "custom"}),
        "end": int(selection.span.end.timestamp()),
        "series": [{"label": name, "number": i} for i, name in enumerate(names, start=1)],
        "data": [
            [int(step.timestamp()) for step in steps],
            *([_plain(selection.metric, cell) for cell in values[group]] for group in groups),
        ],
        "rows": [
            {
                "time": step,
                "query": urlencode({"from": int(step.timestamp()), "to": int(ends[i].timestamp())}),
                "texts": [_text(selection.metric, values[group][i]) for group in groups],
            }
            for i, step in reversed(list(enumerate(steps)))
        ],
    }


def _nothing(selection: Selection) -> str:
    """In place of a chart that would be a bare line."""
    return (
        gettext("No call failed in this range.") if selection.metric == "errors" else gettext("Nothing in this range.")
    )


def _largest(counted: list[Cell], selection: Selection) -> list[Any]:
    """The groups with most of the metric; None stands for all others, or for all when nothing is grouped."""
    if selection.group == "none":
        return [None]
    sums = by_group(counted, COLUMNS[selection.metric])
    ordered = sorted((group for group in sums if sums[group]), key=lambda group: (-sums[group], str(group)))
    return ordered[:SERIES_MAX] + ([None] if len(ordered) > SERIES_MAX else []) or [None]


def _values(counted: list[Cell], metric: str, groups: list[Any], length: int) -> dict[Any, list[tuple[int, int]]]:
    """Per group, per step: the metric's sum and the calls behind it."""
    values: dict[Any, list[tuple[int, int]]] = {group: [(0, 0)] * length for group in groups}
    for cell in counted:
        shown = cell.group if cell.group in values else None
        if shown in values:
            total, calls = values[shown][cell.step]
            values[shown][cell.step] = (total + getattr(cell, COLUMNS[metric]), calls + cell.calls)
    return values


def _plain(metric: str, cell: tuple[int, int]) -> float | int | None:
    """The number that the chart draws: dollars and milliseconds as numbers for drawing alone."""
    total, calls = cell
    if metric == "money":
        return total / 1_000_000
    return (round(total / calls) if calls else None) if metric in MEANS else total


def _text(metric: str, cell: tuple[int, int]) -> str:
    total, calls = cell
    if metric == "money":
        return spent(total)
    return ms(total / calls if calls else None) if metric in MEANS else number(total)


def _names(account: Account, group: str, values: list[Any]) -> list[str]:
    if group == "none":
        return [gettext("All calls")]
    keys = dict(keys_of(account).values_list("pk", "name")) if group == "key_id" else {}
    known: dict[str, dict[Any, Any]] = {"key_id": keys, "source": SOURCES, "status": WORDS}
    names = known.get(group, {})
    return [gettext("All others") if value is None else str(names.get(value, value)) for value in values]


def breakdown(account: Account, found: list[Cell], selection: Selection) -> list[dict[str, Any]]:
    """Totals per group, largest spend first, as the table below the chart."""
    money_of, calls, images = (by_group(found, name) for name in ("amount_microusd", "calls", "images"))
    order = sorted(money_of, key=lambda group: (-money_of[group], -calls[group], str(group)))[:PARTS_MAX]
    names = _names(account, selection.part, order)
    span = {"from": int(selection.span.start.timestamp()), "to": int(selection.span.end.timestamp())}
    log_name = LOG_FILTERS.get(selection.part)
    return [
        {
            "name": name,
            "calls": calls[group],
            "images": images[group],
            "amount_microusd": money_of[group],
            "query": urlencode(span | ({log_name: group} if log_name else {})),
        }
        for name, group in zip(names, order, strict=True)
    ]


@account_page(section="usage")
@require_safe
def usage_csv(request: AccountRequest) -> StreamingHttpResponse:
    """The roll-up rows behind the page, streamed. `bom=1` puts a byte order mark first, as some spreadsheets need."""
    zone = timezone.get_current_timezone()
    selection = selection_parse(request.GET.dict(), account_id=request.account.pk, now=timezone.now(), zone=zone)
    rows = quarters(request.account, selection.span.start, selection.span.end).order_by("bucket", "pk")
    mark = "\N{ZERO WIDTH NO-BREAK SPACE}" if request.GET.get("bom") else ""
    response = StreamingHttpResponse(csv_lines(rows, str(zone), mark), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="usage-{selection.span.key}.csv"'
    return response


def csv_lines(rows: QuerySet[UsageBucket], zone: str, mark: str = "") -> Iterator[str]:
    """One line per roll-up row. Texts that a spreadsheet would take for formulas are neutralised."""
    there = ZoneInfo(zone)
    names = ["key_id", "model_id", "endpoint", "plan_code", "source", "status", "size", "calls", "images"]
    yield mark + ",".join(["bucket_utc", "bucket_local", "zone", *names, "amount_usd", "wait_ms", "run_ms"]) + "\r\n"
    fields = ["bucket", *names, "amount_microusd", "wait_ms", "run_ms"]
    for bucket, *middle, amount_microusd, wait_ms, run_ms in rows.values_list(*fields).iterator(chunk_size=2000):
        line = io.StringIO()
        when = [bucket.isoformat(), bucket.astimezone(there).isoformat(), zone]
        cells_of_row = [*when, *(neutral(cell) for cell in middle), usd_text(amount_microusd), wait_ms, run_ms]
        csv.writer(line).writerow(cells_of_row)
        yield line.getvalue()


def neutral(cell: object) -> object:
    """A text that begins like a formula gets an apostrophe before it (OWASP, "CSV injection")."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
