"""The request log as CSV: the calls that its filters leave, newest first, streamed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.views.decorators.http import require_safe

from billing.money import usd_text
from gateway.dashboard.access import AccountRequest, account_page
from gateway.dashboard.requests import Filters, generations_of
from gateway.dashboard.usage import neutral
from inference.models import Generation

COLUMNS = {
    "id": "id",
    "received_utc": "created_at",
    "started_utc": "started_at",
    "ended_utc": "finished_at",
    "state": "state",
    "error_code": "error_code",
    "key": "key_id",
    "model": "model_id",
    "endpoint": "endpoint",
    "width_px": "width_px",
    "height_px": "height_px",
    "images_requested": "images_requested",
    "images_delivered": "images_delivered",
    "paid_by": "funding",
    "charged_usd": "charged_microusd",
    "track_id": "track_id",
}


@account_page(section="requests")
@require_safe
def request_csv(request: AccountRequest) -> StreamingHttpResponse:
    rows = Filters.parse(request).apply(generations_of(request.account))
    return csv_answer(rows, COLUMNS)


def csv_answer(rows: QuerySet[Generation], columns: Mapping[str, str]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(csv_lines(rows, columns), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="requests.csv"'
    return response


def csv_lines(rows: QuerySet[Generation], columns: Mapping[str, str]) -> Iterator[str]:
    """One line per call. Texts that a spreadsheet would take for formulas are neutralised."""
    yield ",".join(columns) + "\r\n"
    for values in rows.values_list(*columns.values()).iterator(chunk_size=2000):
        line = io.StringIO()
        csv.writer(line).writerow([_cell(name, value) for name, value in zip(columns, values, strict=True)])
        yield line.getvalue()


def _cell(name: str, value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if name == "charged_usd":
        return usd_text(int(str(value)))
    return "" if value is None else neutral(value)
