"""The ledger as its owner reads it: every movement with the balance after it, as a page and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing.entitlements import month_end, month_of
from billing.models import EntryKind, LedgerEntry
from billing.money import usd_text
from gateway.dashboard.access import AccountRequest, account_page
from gateway.dashboard.usage import neutral

PER_PAGE = 50
MONTHS_SHOWN = 12


@account_page(section="billing")
@require_safe
def ledger(request: AccountRequest) -> HttpResponse:
    """Newest first; `before` is the id of the entry where the page before ended."""
    mine = LedgerEntry.objects.filter(wallet_id=request.account.pk)
    before = request.GET.get("before", "")
    rows = mine.filter(id__lt=int(before)) if before.isdecimal() and len(before) < 19 else mine
    entries = list(rows.order_by("-id")[: PER_PAGE + 1])
    shown = entries[:PER_PAGE]
    context = {
        "rows": _with_balances(mine, shown),
        "older": shown[-1].pk if len(entries) > PER_PAGE else None,
        "first_page": not before,
        "months": _months(mine),
        "kinds": EntryKind.choices,
    }
    return render(request, "dashboard/billing/ledger.html", context)


def _with_balances(mine: Any, shown: list[LedgerEntry]) -> list[tuple[LedgerEntry, int]]:
    """Each entry with the balance right after it: one sum for the newest, then backwards."""
    if not shown:
        return []
    balance = mine.filter(id__lte=shown[0].pk).aggregate(s=Sum("amount_microusd"))["s"] or 0
    rows = []
    for entry in shown:
        rows.append((entry, balance))
        balance -= entry.amount_microusd
    return rows


def _months(mine: Any) -> list[datetime]:
    """The months that have a statement, newest first, up to a year of them."""
    first = mine.order_by("id").values_list("created_at", flat=True).first()
    months: list[datetime] = []
    month = month_of(timezone.now())
    while first is not None and month >= month_of(first) and len(months) < MONTHS_SHOWN:
        months.append(month)
        month = month_of(month - timedelta(days=1))
    return months


@account_page(section="billing")
@require_safe
def ledger_csv(request: AccountRequest) -> StreamingHttpResponse:
    """Every entry, or those of one UTC month (`?month=2026-11`), oldest first, with the balance after each."""
    rows = LedgerEntry.objects.filter(wallet_id=request.account.pk).order_by("id")
    balance_microusd, name = 0, "ledger"
    if asked := request.GET.get("month", ""):
        start = month_asked(*asked.partition("-")[::2])
        balance_microusd = rows.filter(created_at__lt=start).aggregate(s=Sum("amount_microusd"))["s"] or 0
        rows, name = rows.filter(created_at__gte=start, created_at__lt=month_end(start)), f"ledger-{start:%Y-%m}"
    response = StreamingHttpResponse(_csv_lines(rows, balance_microusd), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def month_asked(year: str | int, month: str | int) -> datetime:
    """The beginning of a month of the past or the running one. Raises Http404 for any other."""
    try:
        start = datetime(int(year), int(month), 1, tzinfo=UTC)
    except ValueError:
        raise Http404 from None
    if start.year < 2020 or start > timezone.now():
        raise Http404
    return start


def _csv_lines(rows: Any, balance_microusd: int) -> Iterator[str]:
    """Texts that a spreadsheet would take for formulas are neutralised."""
    yield "id,time_utc,kind,amount_usd,balance_usd,generation,images,note,sandbox\r\n"
    fields = ("id", "created_at", "kind", "amount_microusd", "reference", "images", "note", "sandbox")
    for pk, at, kind, amount, reference, images, note, sandbox in rows.values_list(*fields).iterator(chunk_size=2000):
        balance_microusd += amount
        line = io.StringIO()
        money = [usd_text(amount), usd_text(balance_microusd)]
        csv.writer(line).writerow(
            [pk, at.astimezone(UTC).isoformat(), kind, *money, reference or "", images, neutral(note), int(sandbox)]
        )
        yield line.getvalue()
