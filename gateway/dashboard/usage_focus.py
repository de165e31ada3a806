"""Costs in the columns of FOCUS, the FinOps Open Cost and Usage Specification (1.2), one line per roll-up row.

Sums of BilledCost are the ledger's. What a plan or free calls cover costs nothing here: the plan itself is on invoices.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account
from accounts.selectors import keys_of
from billing.entitlements import month_end, month_of
from billing.models import UsageBucket
from billing.money import usd_text
from gateway.dashboard.access import AccountRequest, account_page
from gateway.dashboard.ranges import QUARTER
from gateway.dashboard.usage import neutral
from gateway.dashboard.usage_selection import selection_parse
from gateway.dashboard.usage_sums import quarters

TAGS = ("endpoint", "size", "source", "status", "plan_code")
COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "Tags",
)
FIELDS = ("bucket", "key_id", "model_id", "calls", "images", "amount_microusd", *TAGS)


@account_page(section="usage")
@require_safe
def usage_focus(request: AccountRequest) -> StreamingHttpResponse:
    """The span that the usage page shows, streamed."""
    zone = timezone.get_current_timezone()
    selection = selection_parse(request.GET.dict(), account_id=request.account.pk, now=timezone.now(), zone=zone)
    rows = quarters(request.account, selection.span.start, selection.span.end).order_by("bucket", "pk")
    response = StreamingHttpResponse(focus_lines(request.account, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="focus-{selection.span.key}.csv"'
    return response


def focus_lines(account: Account, rows: QuerySet[UsageBucket]) -> Iterator[str]:
    names = dict(keys_of(account).values_list("pk", "name"))
    yield _line(COLUMNS)
    for values in rows.values(*FIELDS).iterator(chunk_size=2000):
        cells = focus_row(account, values, names)
        yield _line([neutral(cells[name]) for name in COLUMNS])


def focus_row(account: Account, row: dict[str, Any], key_names: dict[int, str]) -> dict[str, object]:
    """All mandatory columns, in the specification's spelling; amounts are exact decimal texts."""
    start, cost = row["bucket"], usd_text(row["amount_microusd"])
    return {
        "BilledCost": cost,
        "BillingAccountId": str(account.public_id),
        "BillingAccountName": account.name,
        "BillingCurrency": "USD",
        "BillingPeriodStart": _moment(month_of(start)),
        "BillingPeriodEnd": _moment(month_end(start)),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{row['calls']} calls of {row['model_id']}, {row['status']}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _moment(start),
        "ChargePeriodEnd": _moment(start + QUARTER),
        "ConsumedQuantity": row["images"],
        "ConsumedUnit": "Images",
        "ContractedCost": cost,
        "EffectiveCost": cost,
        "InvoiceIssuerName": settings.SITE_NAME,
        "ListCost": cost,
        "PricingQuantity": row["images"],
        "PricingUnit": "Images",
        "ProviderName": settings.SITE_NAME,
        "PublisherName": settings.SITE_NAME,
        "ResourceId": str(row["key_id"]),
        "ResourceName": key_names.get(row["key_id"], ""),
        "ResourceType": "API key",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Image generation",
        "SkuId": row["model_id"],
        "Tags": json.dumps({name: row[name] for name in TAGS}),
    }


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
