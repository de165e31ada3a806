"""The limits while Redis cannot vouch for them: counted from the generations' own rows, under one lock an account.

A process that loses Redis may be the only one that did. So it first reports an outage in the database, waits until
every other process has heard of it and what was under way has been written, and only then counts there; the others
count there as well, beside Redis, until everything that was admitted without Redis is older than a minute. Whoever
admits a call sees every other one: no process ever has a part of its own, and nothing is allowed twice.

The window is longer than a minute by what the clocks of machines may be apart, which makes it the stricter rule.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from gateway.caching import REVISION_EVERY_S, TtlCache
from gateway.ids import generation_id_floor
from gateway.models import LimitOutage, Revision
from gateway.ratelimit import WINDOW_MS, Decision, Uncounted
from gateway.ratelimit.decision import QUEUED_RETRY_MS, Limit, Verdict
from inference.selectors import calls_since, queued_calls

log = logging.getLogger(__name__)

# Between its admission by Redis and its row a call takes milliseconds, on a crowded machine some hundred.
UNDER_WAY_S = 2.0
SETTLES_S = REVISION_EVERY_S + UNDER_WAY_S
CLOCKS_APART = timedelta(seconds=5)
WINDOW = timedelta(milliseconds=WINDOW_MS) + CLOCKS_APART
REPORT_EVERY_S = 5.0
# A process may know of an outage, but not yet that it lasts longer.
KNOWN_FOR_S = 5.0
LASTS = WINDOW + timedelta(seconds=REPORT_EVERY_S + KNOWN_FOR_S + UNDER_WAY_S)


class Outage(NamedTuple):
    """In seconds of this process's steady clock."""

    settled_at_s: float
    ends_at_s: float


class _Reports:
    """This process's own: at most one every REPORT_EVERY_S, however many calls meet the trouble."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_at_s = 0.0

    def make(self) -> None:
        _connection_lend()
        with self._lock:
            now_s = time.monotonic()
            if now_s < self._next_at_s and now_s < _outage().ends_at_s:
                return
            _report()
            self._next_at_s = time.monotonic() + REPORT_EVERY_S

    def forget(self) -> None:
        self._next_at_s = 0.0


_known: TtlCache[None, Outage] = TtlCache(ttl_s=KNOWN_FOR_S)
reports = _Reports()


def recount_needed(found: Decision | Uncounted) -> bool:
    """Whether this call must be counted in the database; returns once all others count there too.

    Blocks for at most SETTLES_S, at the beginning of an outage, without holding a database connection.
    """
    if not settings.REDIS_URL:
        return False  # what counts in this process alone always vouches
    if isinstance(found, Uncounted):
        if found.counting_ms is None:
            reports.make()
            _sleep(_outage().settled_at_s - time.monotonic())
        else:
            _sleep(UNDER_WAY_S - found.counting_ms / 1000)
        return True
    outage = _outage()
    return outage.settled_at_s <= time.monotonic() < outage.ends_at_s


def recount(*, account_id: int, key_id: int, limits: Sequence[Limit], now: datetime) -> Decision:
    """What the account's rows say of one more call: `limits` are the account's and, if it has any, the key's.

    In a transaction: the account's lock is held to its end, so that the row of an admitted call is seen by the next.
    """
    _lock_limits(account_id)
    floor = generation_id_floor(now - WINDOW)
    verdicts = [
        verdict
        for limit, of_key in zip(limits, (None, key_id), strict=False)
        for verdict in _verdicts(limit, account_id, of_key, floor, now)
    ]
    refused = [one for one in verdicts if one.refused_by]
    if refused:
        return max(refused, key=lambda one: one.wait_ms).decision(now_ms=_ms(now))
    unlimited = Verdict(limits[0].scope, None, None, 0, None)
    return min(verdicts, key=lambda one: one.remaining or 0, default=unlimited).decision(now_ms=_ms(now))


def _verdicts(limit: Limit, account_id: int, key_id: int | None, floor: int, now: datetime) -> Iterator[Verdict]:
    if limit.per_minute is not None:
        calls = calls_since(floor, account_id=account_id, key_id=key_id).values_list("created_at", flat=True)
        used = calls.count()
        # With it a place becomes free: the oldest call, or of more than the limit the one that leaves room.
        leaving = calls[max(used - limit.per_minute, 0) :].first()
        wait_ms = _ms_until_old(leaving or now, now)
        remaining = limit.per_minute - used - 1
        yield Verdict(limit.scope, limit.per_minute, max(remaining, 0), wait_ms, "minute" if remaining < 0 else None)
    if limit.queued is not None and queued_calls(account_id=account_id, key_id=key_id) >= limit.queued:
        yield Verdict(limit.scope, limit.queued, 0, QUEUED_RETRY_MS, "queued")


def _ms_until_old(made_at: datetime, now: datetime) -> int:
    return max(_ms(made_at + WINDOW) - _ms(now), 0) + 1


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _lock_limits(account_id: int) -> None:
    """SQLite has one writer at a time anyway; elsewhere the lock is the account's, and of nobody but this module."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"limits:{account_id}"])


# --- the outage ------------------------------------------------------------------------------------------------


def _outage() -> Outage:
    return _known.get(None, _load)


def _load() -> Outage:
    row = LimitOutage.objects.filter(pk=1).first()
    if row is None:
        return Outage(0.0, 0.0)
    now, steady_s = _database_now(), time.monotonic()
    settled_at_s = steady_s + SETTLES_S - (now - row.began_at).total_seconds()
    return Outage(settled_at_s, steady_s + (row.ends_at - now).total_seconds())


def _report() -> None:
    """Begin an outage, or lengthen the one that lasts. Those that know of it look again within KNOWN_FOR_S."""
    with transaction.atomic():
        now = _database_now()
        LimitOutage.objects.bulk_create([LimitOutage(id=1, began_at=now, ends_at=now)], ignore_conflicts=True)
        row = LimitOutage.objects.select_for_update().get(pk=1)
        begins = row.ends_at <= now
        row.began_at, row.ends_at = (now if begins else row.began_at), max(row.ends_at, now + LASTS)
        row.save(update_fields=["began_at", "ends_at"])
        if begins:
            Revision.objects.filter(pk=1).update(number=F("number") + 1)
    _known.clear()
    if begins:
        log.warning("Calls are counted in the database for at least %.0f s", LASTS.total_seconds())


def _database_now() -> datetime:
    """One clock for all machines."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _sleep(seconds: float) -> None:
    if seconds > 0:
        _connection_lend()
        time.sleep(min(seconds, SETTLES_S))


def _connection_lend() -> None:
    """Back to the pool before any wait: the thread that is waited for may need one, and all others may be taken."""
    if not connection.in_atomic_block:
        connection.close()
