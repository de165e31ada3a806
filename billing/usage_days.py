"""Folds the quarters of an account's ended days into days of its own time zone, so that long spans stay quick to read.

It may run twice, late or never: what is not folded is read from the quarters, with the same sums.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import IntegrityError, connection, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery

from accounts.models import Account
from billing.models import UsageBucket, UsageFold, UsageFolding, UsageHouseDay
from billing.revenue import day_charged

# A day is closed for the roll-up once every transaction that began in it has surely ended.
CLOSED_AFTER = timedelta(hours=1)
# Accounts without a call in this time have nothing new to fold.
LATELY = timedelta(days=3)
ACCOUNTS_PER_RUN = 500

_CALLS = "account_id, key_id, model_id, endpoint, plan_code, source, status"


def _statement(table: str, columns: str, sums: tuple[str, ...], where: str) -> str:
    """Adds up the quarters that fit, by `columns`, into one day's rows; its first parameter is the day."""
    totals = ", ".join(f"SUM({name})" for name in sums)
    return (
        f"INSERT INTO {table} (day, {columns}, {', '.join(sums)})"  # noqa: S608 - our own words alone
        f" SELECT %s, {columns}, {totals} FROM billing_usagebucket WHERE {where} GROUP BY {columns}"
    )


_FOLD = _statement(
    "billing_usagefold",
    f"{_CALLS}, size",
    ("calls", "images", "amount_microusd", "wait_ms", "run_ms"),
    "account_id = %s AND bucket >= %s AND bucket < %s",
)
_HOUSE = _statement(
    "billing_usagehouseday",
    _CALLS,
    ("calls", "images", "amount_microusd", "list_price_microusd", "run_ms", "gpu_time_ms"),
    "bucket >= %s AND bucket < %s",
)


def days_fold(*, now: datetime) -> int:
    """Fold what is due, account by account, each in a transaction of its own. Returns how many accounts moved."""
    return sum(account_fold(account_id=account_id, now=now) for account_id in _due(now)[:ACCOUNTS_PER_RUN])


def _due(now: datetime) -> list[int]:
    lately = set(UsageBucket.objects.filter(bucket__gte=now - LATELY).values_list("account_id", flat=True).distinct())
    zones = dict(Account.objects.filter(pk__in=lately).values_list("pk", "time_zone"))
    states = {state.account_id: state for state in UsageFolding.objects.filter(pk__in=lately)}
    due = [pk for pk, zone in zones.items() if pk not in states or states[pk].through < last_closed_day(zone, now)]
    own_zone = Account.objects.filter(pk=OuterRef("account_id")).values("time_zone")
    moved: QuerySet[UsageFolding] = UsageFolding.objects.annotate(own=Subquery(own_zone)).exclude(zone=F("own"))
    return sorted({*due, *moved.values_list("pk", flat=True)[:ACCOUNTS_PER_RUN]})


def house_folded_through() -> date | None:
    """The last UTC day that is folded; days before it without rows had no call."""
    return UsageHouseDay.objects.order_by("-day").values_list("day", flat=True).first()


def last_closed_day(zone: str, now: datetime) -> date:
    return (now - CLOSED_AFTER).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)


@transaction.atomic
def account_fold(*, account_id: int, now: datetime) -> bool:
    """Fold the account's closed days up to now. False when there was none."""
    zone = Account.objects.values_list("time_zone", flat=True).get(pk=account_id)
    last, first = last_closed_day(zone, now), _first_day(account_id, zone)
    if first is None:
        return False
    start = {"zone": zone, "through": first - timedelta(days=1)}
    state, _ = UsageFolding.objects.select_for_update().get_or_create(account_id=account_id, defaults=start)
    if state.zone != zone:
        UsageFold.objects.filter(account_id=account_id).delete()
        state.zone, state.through = zone, first - timedelta(days=1)
    if state.through >= last:
        return False
    with connection.cursor() as cursor:
        for number in range((last - state.through).days):
            day = state.through + timedelta(days=number + 1)
            cursor.execute(_FOLD, [day, account_id, *_bounds(day, zone)])
    state.through = last
    state.save()
    return True


def house_fold(*, now: datetime) -> int:
    """Fold everybody's closed UTC days, each in a transaction of its own. Returns how many moved."""
    folded = house_folded_through()
    oldest = UsageBucket.objects.order_by("bucket").values_list("bucket", flat=True).first()
    if oldest is None:
        return 0
    first = folded + timedelta(days=1) if folded else oldest.astimezone(UTC).date()
    days = range((last_closed_day("UTC", now) - first).days + 1)
    return sum(_house_day(first + timedelta(days=number)) for number in days)


def _house_day(day: date) -> bool:
    """False when another run was faster, or nothing happened on that day."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_HOUSE, [day, *_bounds(day, "UTC")])
            folded = bool(cursor.rowcount)
            day_charged(day)
            return folded
    except IntegrityError:
        return False


def _first_day(account_id: int, zone: str) -> date | None:
    oldest = UsageBucket.objects.filter(account_id=account_id).order_by("bucket").values_list("bucket", flat=True)
    first = oldest.first()
    return None if first is None else first.astimezone(ZoneInfo(zone)).date()


def _bounds(day: date, zone: str) -> list[Any]:
    """The beginnings of the day and of the next, as the database stores moments."""
    moments = [day_start(day, zone), day_start(day + timedelta(days=1), zone)]
    return [connection.ops.adapt_datetimefield_value(moment) for moment in moments]


def day_start(day: date, zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
