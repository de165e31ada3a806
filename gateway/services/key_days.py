"""A key's own limit of calls a UTC day: counted in the transaction that admits the call, so that it is exact."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection

from billing.entitlements import day_end, day_of
from gateway.errors import KeyQuotaExhausted
from gateway.models import KeyDay

KEPT_FOR = timedelta(days=40)
_COUNT = (
    "INSERT INTO gateway_keyday (key_id, day, calls) VALUES (%s, %s, 1)"
    " ON CONFLICT (key_id, day) DO UPDATE SET calls = gateway_keyday.calls + 1"
    " WHERE gateway_keyday.calls < %s RETURNING calls"
)


def key_day_count(*, key_id: int, limit: int, now: datetime) -> None:
    """Count one call; a transaction that fails later takes it back. Raises KeyQuotaExhausted."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [key_id, connection.ops.adapt_datefield_value(day_of(now)), limit])
        if cursor.fetchone() is not None:
            return
    resets_at = day_end(now)
    raise KeyQuotaExhausted(
        limit=limit,
        resets_at=resets_at.isoformat(),
        retry_after_s=max(1, int((resets_at - now).total_seconds()) + 1),
    )


def key_day_calls(*, key_ids: list[int], now: datetime) -> dict[int, int]:
    """Today's counted calls by key."""
    return dict(KeyDay.objects.filter(key_id__in=key_ids, day=day_of(now)).values_list("key_id", "calls"))


def key_days_forget(*, now: datetime) -> None:
    KeyDay.objects.filter(day__lt=day_of(now - KEPT_FOR)).delete()
