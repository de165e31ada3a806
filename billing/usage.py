"""The roll-up of settled calls: the only writer of usage buckets. It runs inside the settling transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

BUCKET = timedelta(minutes=15)

_UPSERT = """
INSERT INTO billing_usagebucket (bucket, account_id, key_id, model_id, endpoint, plan_code, source, status, size,
    calls, images, amount_microusd, list_price_microusd, wait_ms, run_ms, gpu_time_ms)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 1, %s, %s, %s, %s, %s, %s)
ON CONFLICT (bucket, account_id, key_id, model_id, endpoint, plan_code, source, status, size) DO UPDATE SET
    calls = billing_usagebucket.calls + 1,
    images = billing_usagebucket.images + excluded.images,
    amount_microusd = billing_usagebucket.amount_microusd + excluded.amount_microusd,
    list_price_microusd = billing_usagebucket.list_price_microusd + excluded.list_price_microusd,
    wait_ms = billing_usagebucket.wait_ms + excluded.wait_ms,
    run_ms = billing_usagebucket.run_ms + excluded.run_ms,
    gpu_time_ms = billing_usagebucket.gpu_time_ms + excluded.gpu_time_ms
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledCall:
    """One settled generation, as the roll-up sees it. Times are milliseconds, amounts micro-dollars."""

    account_id: int
    key_id: int
    model_id: str
    endpoint: str
    plan_code: str
    source: str
    status: str
    size: str
    images: int
    amount_microusd: int
    list_price_microusd: int
    wait_ms: int
    run_ms: int
    gpu_time_ms: int


def bucket_of(moment: datetime) -> datetime:
    """The start of the quarter of an hour, UTC, that `moment` falls into."""
    utc = moment.astimezone(UTC)
    return utc.replace(minute=utc.minute - utc.minute % 15, second=0, microsecond=0)


def usage_record(call: SettledCall, *, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _UPSERT,
            [
                connection.ops.adapt_datetimefield_value(bucket_of(now)),
                call.account_id,
                call.key_id,
                call.model_id,
                call.endpoint,
                call.plan_code,
                call.source,
                call.status,
                call.size,
                call.images,
                call.amount_microusd,
                call.list_price_microusd,
                call.wait_ms,
                call.run_ms,
                call.gpu_time_ms,
            ],
        )
