"""A customer's usage page over a million roll-up rows, all of them that customer's own, of the last 90 days."""

from __future__ import annotations

from django.utils import timezone
from psycopg import Connection

from benchmarks.dashboards import seed
from benchmarks.dashboards.part import Cast, Page, Part
from billing.usage_days import days_fold

DAYS = 90
PAGE = "/dashboard/usage"


def fill(connection: Connection, cast: Cast, rows: int) -> None:
    seed.usage(connection, rows=rows, days=DAYS, first_account=cast.account_id)
    # What the dispatcher sets off every quarter of an hour.
    days_fold(now=timezone.now())


def pages(cast: Cast) -> list[Page]:
    shown = (
        ("1 hour", "range=1h"),
        ("24 hours", "range=24h"),
        ("7 days", "range=7d"),
        ("7 days, spend by model", "range=7d&metric=money&group=model_id"),
        ("30 days", "range=30d"),
        ("30 days, spend by model", "range=30d&metric=money&group=model_id"),
        ("30 days, calls by key", "range=30d&metric=calls&group=key_id"),
        ("this cycle", "range=cycle"),
        ("90 days", "range=90d"),
        ("90 days, spend by size", "range=90d&metric=money&group=size"),
    )
    return [Page(f"usage, {name}", f"{PAGE}?{query}", cast.customer) for name, query in shown]


PART = Part(name="usage", rows=1_000_000, fill=fill, pages=pages)
