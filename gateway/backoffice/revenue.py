"""Revenue: what the house earns by month, who goes on paying, and what it owes; the same tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from billing.models import EventCursor, EventState, StripeEvent
from billing.money import usd_text
from billing.stripe_client import is_configured
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.home import change_text
from gateway.backoffice.navigation import console_render
from gateway.backoffice.revenue_sums import (
    Cohort,
    Liability,
    Month,
    cohorts,
    liability,
    months,
    told_now,
)
from gateway.models import AuditRun
from gateway.templatetags.units import money, number, percent

# Each figure in words, as the page shows them beside the numbers.
WORDS = (
    ("MRR", "The monthly prices of the subscriptions that are paid for, before discounts and tax. Trials, metered "
     "plans and plans given by staff are not in it. Earlier months count a subscription with its plan of today."),
    ("Revenue", "Charges of calls to prepaid funds or later invoices, as the ledger has them, and paid invoices of "
     "plans without tax. Money that was paid in becomes revenue when calls use it."),
    ("Payers", "Accounts that brought in revenue in the month."),
    ("ARPU", "Revenue of the month by its payers."),
    ("Subscription churn", "Subscriptions that ended in the month, by those that stood at its beginning."),
    ("Payer churn", "Payers of the month before that brought in nothing in this one, by all of them. A month is "
     "judged an hour after its end."),
    ("Paid in", "Top-ups and paid invoices of calls."),
    ("Given", "Grants and corrections by staff."),
    ("Returned", "Refunds and disputes, less those that came back."),
    ("Credit liability", "What wallets hold at the end of the month: what they held before, and paid in, given and "
     "returned, less charges. Now it is the sum of all balances, those below zero (post-paid, in arrears) included."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the page and its files show, read once."""

    months: list[Month]
    cohorts: list[Cohort]
    liability: Liability

    @classmethod
    def read(cls, now: datetime) -> Figures:
        """Without the months before anything happened, but for the two that are compared."""
        told, owed = told_now(now), liability()
        found, people = months(now, told, owed), cohorts(told)
        shown = max(
            [
                2,
                *(
                    at
                    for at, (month, cohort) in enumerate(zip(found, people, strict=True), 1)
                    if month.moved or cohort.accounts
                ),
            ]
        )
        return cls(found[:shown], people[:shown], owed)


@staff_page(section="revenue", needs=Permission.MONEY)
@require_safe
def revenue(request: StaffRequest) -> HttpResponse:
    now = timezone.now()
    figures = Figures.read(now)
    context = {
        "now": now,
        "cards": cards(figures),
        "months": figures.months,
        "chart": chart(figures.months),
        "cohorts": [(cohort, cells(cohort, len(figures.months))) for cohort in figures.cohorts],
        "ages": range(len(figures.months)),
        "words": WORDS,
        "liability": figures.liability,
        "sandbox": sum(month.sandbox_microusd for month in figures.months),
        **_reconciled(),
    }
    return console_render(request, "backoffice/revenue.html", context)


def cells(cohort: Cohort, ages: int) -> list[int | None]:
    """The revenue by month since the sign-up; None for months to come."""
    told = cohort.revenue_microusd
    return [told[age] if age < len(told) else None for age in range(ages)]


def _reconciled() -> dict[str, Any]:
    """How far the books agree with themselves and with the payment provider."""
    configured = is_configured()
    return {
        "proof": AuditRun.objects.order_by("-id").only("ran_at", "differences").first(),
        "configured": configured,
        "cursor": EventCursor.objects.order_by("-read_until").first() if configured else None,
        "parked": StripeEvent.objects.filter(state=EventState.PARKED).count() if configured else 0,
    }


def cards(figures: Figures) -> list[dict[str, Any]]:
    now, before = figures.months[0], figures.months[1]
    owed = figures.liability
    return [
        _card("MRR", money(now.mrr_microusd), now.mrr_microusd, before.mrr_microusd),
        _card("Revenue this month", money(now.revenue_microusd), now.revenue_microusd, before.revenue_microusd),
        {
            "label": "ARPU this month",
            "value": money(now.arpu_microusd),
            "note": f"{number(now.payers)} payers, {money(before.arpu_microusd)} in all of last month",
        },
        {
            "label": "Churn last month",
            "value": percent(before.churn),
            "note": f"of subscriptions; of payers {percent(before.payer_churn)}",
        },
        {
            "label": "Credit liability",
            "value": money(owed.owed_microusd),
            "note": f"{money(owed.held_microusd)} of it held, {money(owed.owing_microusd)} owed by customers",
        },
        _card("Returned this month", money(-now.returned_microusd), -now.returned_microusd, -before.returned_microusd),
    ]


def _card(label: str, value: str, now: int, before: int) -> dict[str, Any]:
    change = change_text(now, before)
    note = f"{change} against all of last month" if change not in ("", "new") else f"last month {money(before)}"
    return {"label": label, "value": value, "note": note}


def chart(found: list[Month]) -> dict[str, Any]:
    """Revenue and what was paid in, month by month."""
    ordered = found[::-1]
    series = [
        ("Revenue", [month.revenue_microusd for month in ordered]),
        ("Paid in", [month.paid_in_microusd for month in ordered]),
        ("Credit liability", [month.closing_microusd for month in ordered]),
    ]
    return {
        "id": "revenue",
        "title": "Revenue, money paid in and credit liability of the last twelve months",
        "unit": "usd",
        "zone": "UTC",
        "series": [{"label": label, "number": place} for place, (label, _) in enumerate(series, start=1)],
        # Dollars as numbers for drawing alone.
        "data": [
            [int(month.start.timestamp()) for month in ordered],
            *([amount / 1_000_000 for amount in amounts] for _, amounts in series),
        ],
        "rows": [
            {"time": month.start, "texts": [money(amounts[at]) for _, amounts in series]}
            for at, month in reversed(list(enumerate(ordered)))
        ],
    }


@staff_page(section="revenue", needs=Permission.MONEY)
@require_safe
def revenue_csv(request: StaffRequest, table: str) -> HttpResponse:
    """One of the tables as a file, in dollars; what cannot be told is empty."""
    if table not in TABLES:
        raise Http404
    out = io.StringIO()
    csv.writer(out).writerows(TABLES[table](Figures.read(timezone.now())))
    response = HttpResponse(out.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="revenue-{table}.csv"'
    return response


Row = Sequence[Any]


def _month_rows(figures: Figures) -> Iterable[Row]:
    yield (
        "month_utc", "mrr_usd", "subscriptions", "subscriptions_begun", "subscriptions_ended", "subscription_churn",
        "revenue_usd", "charged_usd", "plans_usd", "payers", "arpu_usd", "payer_churn", "opening_liability_usd",
        "paid_in_usd", "given_usd", "returned_usd", "closing_liability_usd",
    )  # fmt: skip
    for month in figures.months:
        yield (
            f"{month.start:%Y-%m}", usd_text(month.mrr_microusd), month.subscriptions, month.subscriptions_begun,
            month.subscriptions_ended, _share(month.churn), usd_text(month.revenue_microusd),
            usd_text(month.charged_microusd), usd_text(month.plans_microusd), month.payers,
            "" if month.arpu_microusd is None else usd_text(month.arpu_microusd), _share(month.payer_churn),
            usd_text(month.opening_microusd), usd_text(month.paid_in_microusd), usd_text(month.given_microusd),
            usd_text(month.returned_microusd), usd_text(month.closing_microusd),
        )  # fmt: skip


def _cohort_rows(figures: Figures) -> Iterable[Row]:
    ages = range(len(figures.months))
    yield ("signed_up_utc", "accounts", "payers", "revenue_usd", *(f"month_{age}_usd" for age in ages))
    for cohort in figures.cohorts:
        told = ["" if amount is None else usd_text(amount) for amount in cells(cohort, len(ages))]
        yield (f"{cohort.start:%Y-%m}", cohort.accounts, cohort.payers, usd_text(cohort.total_microusd), *told)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


TABLES = {"months": _month_rows, "cohorts": _cohort_rows}
