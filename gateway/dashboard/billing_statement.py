"""The statement of one UTC month: what there was, what came and went, what is left, and what was drawn for it."""

from __future__ import annotations

import csv
from datetime import datetime
from typing import Any

from django.db.models import Count, Sum
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.models import Account
from billing.entitlements import month_end
from billing.models import EntryKind, LedgerEntry, UsageBucket
from billing.money import usd_text
from gateway.dashboard.access import AccountRequest, account_page
from gateway.dashboard.billing_ledger import month_asked
from gateway.dashboard.usage import neutral
from gateway.site.speech import english


@account_page(section="billing")
@require_safe
def statement(request: AccountRequest, year: int, month: int) -> HttpResponse:
    context = _facts(request.account, month_asked(year, month))
    return render(request, "dashboard/billing/statement.html", context)


def _facts(account: Account, start: datetime) -> dict[str, Any]:
    """The month's sums. Entries are of the moment of the charge, so the closing balance opens the next month."""
    mine = LedgerEntry.objects.filter(wallet_id=account.pk)
    within = mine.filter(created_at__gte=start, created_at__lt=month_end(start))
    opening = mine.filter(created_at__lt=start).aggregate(s=Sum("amount_microusd"))["s"] or 0
    kinds = list(within.values("kind").annotate(total=Sum("amount_microusd"), entries=Count("id")).order_by("kind"))
    used = UsageBucket.objects.filter(account_id=account.pk, bucket__gte=start, bucket__lt=month_end(start))
    by_model = used.values("model_id").annotate(
        made=Sum("calls"), images_made=Sum("images"), spent=Sum("amount_microusd")
    )
    usage = list(by_model.order_by("-spent", "model_id"))
    return {
        "account_name": account.name,
        "month": start,
        "opening_microusd": opening,
        "kinds": [(EntryKind(row["kind"]).label, row["entries"], row["total"]) for row in kinds],
        "came_microusd": sum(row["total"] for row in kinds if row["total"] > 0),
        "went_microusd": sum(row["total"] for row in kinds if row["total"] < 0),
        "closing_microusd": opening + sum(row["total"] for row in kinds),
        "usage": usage,
        "used": {name: sum(row[name] for row in usage) for name in ("made", "images_made", "spent")},
    }


@account_page(section="billing")
@require_safe
@english
def statement_csv(request: AccountRequest, year: int, month: int) -> HttpResponse:
    """The same sums for a spreadsheet: what, how many, and dollars to the micro-dollar."""
    facts = _facts(request.account, month_asked(year, month))
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="statement-{facts["month"]:%Y-%m}.csv"'
    lines = csv.writer(response)
    lines.writerow(["section", "what", "entries", "images", "amount_usd"])
    lines.writerow(["balance", "opening", "", "", usd_text(facts["opening_microusd"])])
    lines.writerows(["movement", name, entries, "", usd_text(total)] for name, entries, total in facts["kinds"])
    lines.writerow(["balance", "closing", "", "", usd_text(facts["closing_microusd"])])
    for row in facts["usage"]:
        lines.writerow(["usage", neutral(row["model_id"]), row["made"], row["images_made"], usd_text(row["spent"])])
    used = facts["used"]
    lines.writerow(["usage", "total", used["made"], used["images_made"], usd_text(used["spent"])])
    return response
