"""What post-paid calls were charged, reported to Stripe Billing Meters and compared with what they counted.

Off unless USAGE_EXPORT says so; it decides nothing about a call. A row of the outbox is written with its capture, and
the capture's operation key is the identifier there, so one charge is counted once. Stripe keeps identifiers for a day:
a row whose first attempt is older is compared with the meter's sums before it may be sent again.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, time, timedelta

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncDate

from accounts.errors import DomainError
from accounts.models import Account
from billing import stripe_client
from billing.customers import customer_ensure
from billing.errors import PaymentProviderUnavailable, PaymentsNotConfigured
from billing.metered import metered_subscribe
from billing.models import ExportState, UsageExport
from billing.prices import METER_EVENT

PER_RUN = 500
CLAIM = timedelta(minutes=2)
WAIT = timedelta(minutes=1)
# Stripe remembers an identifier for a day; with an hour to spare.
IDENTIFIER_LIFE = timedelta(hours=23)
# A day is compared once its sums have settled; differences that last are for a person.
SETTLED_AFTER = timedelta(hours=2)
PARKED_AFTER = timedelta(days=2)

logger = logging.getLogger(__name__)


def export_queue(*, op_key: str, account_id: int, value_microusd: int, now: datetime) -> None:
    """A row of the outbox, in the transaction of the capture that it tells of."""
    if settings.USAGE_EXPORT and value_microusd:
        UsageExport.objects.create(
            op_key=op_key, account_id=account_id, value_microusd=value_microusd, used_at=now, next_attempt_at=now
        )


def _due(now: datetime) -> QuerySet[UsageExport]:
    return UsageExport.objects.filter(state=ExportState.NEW, next_attempt_at__lte=now)


def exports_waiting(now: datetime) -> bool:
    return _due(now).exists()


def exports_send(*, now: datetime) -> int:
    """Everything that is due, oldest first; how many arrived. An outage ends the run, and nothing is lost."""
    sent = 0
    subscribed: dict[int, tuple[str, datetime]] = {}
    for row in _due(now).order_by("next_attempt_at", "id")[:PER_RUN]:
        if not _claimed(row, now):
            continue
        try:
            if row.account_id not in subscribed:
                subscribed[row.account_id] = metered_subscribe(account_id=row.account_id, now=now)
            customer_id, billed_from = subscribed[row.account_id]
            sent += _billed(row, billed_from) and _send(row, customer_id, now)
        except (PaymentProviderUnavailable, PaymentsNotConfigured) as problem:
            _state(row, ExportState.NEW, problem=str(problem), next_attempt_at=now + WAIT)
            break
        except DomainError as problem:
            logger.error("usage %s was refused: %s", row.op_key, problem)
            _state(row, ExportState.PARKED, problem=str(problem))
    return sent


def _claimed(row: UsageExport, now: datetime) -> bool:
    """Whether this run sends the row: one of several wins, and one that dies leaves it for later."""
    if row.tried_at is not None and now - row.tried_at > IDENTIFIER_LIFE:
        _state(row, ExportState.UNSURE)
        return False
    return bool(_due(now).filter(pk=row.pk).update(next_attempt_at=now + CLAIM))


def _billed(row: UsageExport, billed_from: datetime) -> bool:
    """Whether an invoice will count the row. What was used before is moved to where the next one begins to count,
    unless a former attempt may have arrived in time: the day's sums tell, and then it may come back here."""
    if row.used_at >= billed_from:
        return True
    if row.tried_at is not None:
        _state(row, ExportState.UNSURE)
        return False
    row.used_at = billed_from
    return bool(UsageExport.objects.filter(pk=row.pk, tried_at=None).update(used_at=billed_from))


def _send(row: UsageExport, customer_id: str, now: datetime) -> bool:
    """The first attempt is noted before it is made, as its answer may be lost."""
    UsageExport.objects.filter(pk=row.pk, tried_at=None).update(tried_at=now)
    stripe_client.meter_event_create(
        event_name=METER_EVENT,
        customer_id=customer_id,
        value=row.value_microusd,
        identifier=row.op_key,
        timestamp_s=int(row.used_at.timestamp()),
    )
    return _state(row, ExportState.SENT)


def exports_retry(*, ids: list[int], now: datetime) -> list[UsageExport]:
    """Put parked rows back into the outbox; those that this call moved. One whose identifier may be forgotten is
    compared with the meter's sums before it is sent again."""
    parked = UsageExport.objects.filter(state=ExportState.PARKED)
    rows = list(parked.filter(pk__in=ids).order_by("pk"))
    return [
        row for row in rows if parked.filter(pk=row.pk).update(state=ExportState.NEW, next_attempt_at=now, problem="")
    ]


def _state(row: UsageExport, state: ExportState, *, problem: str = "", next_attempt_at: datetime | None = None) -> bool:
    moved = UsageExport.objects.filter(pk=row.pk, state=ExportState.NEW)
    return bool(
        moved.update(state=state, problem=problem[:200], next_attempt_at=next_attempt_at or row.next_attempt_at)
    )


# --- compared with the meter's own sums --------------------------------------------------------------------------


def exports_compare(*, now: datetime) -> None:
    """Each settled UTC day of each account against the meter's sum of it."""
    try:
        meter = stripe_client.meter_find(event_name=METER_EVENT)
        if meter is None:
            return
        open_rows = UsageExport.objects.filter(
            state__in=[ExportState.SENT, ExportState.UNSURE], used_at__lt=_midnight(now - SETTLED_AFTER)
        )
        days = open_rows.annotate(day=TruncDate("used_at", tzinfo=UTC)).values_list("account_id", "day").distinct()
        for account_id, day in days.order_by("day", "account_id")[:PER_RUN]:
            _compare(str(meter["id"]), account_id, day, now)
    except PaymentProviderUnavailable:
        logger.warning("The payment provider is away: usage is compared later")


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time.min, tzinfo=UTC)


def _compare(meter_id: str, account_id: int, day: date, now: datetime) -> None:
    start = datetime.combine(day, time.min, tzinfo=UTC)
    end = start + timedelta(days=1)
    customer_id = customer_ensure(account=Account.objects.get(pk=account_id), now=now)
    counted = stripe_client.meter_usage_retrieve(
        meter_id=meter_id, customer_id=customer_id, start_s=int(start.timestamp()), end_s=int(end.timestamp())
    )
    rows = UsageExport.objects.filter(account_id=account_id, used_at__gte=start, used_at__lt=end)
    arrived = rows.filter(state__in=[ExportState.SENT, ExportState.COUNTED])
    unsure = rows.filter(state=ExportState.UNSURE)
    if counted == _sum(arrived) + _sum(unsure):
        rows.filter(state__in=[ExportState.SENT, ExportState.UNSURE]).update(state=ExportState.COUNTED, problem="")
    elif counted == _sum(arrived):
        # Not there, and the identifier may be forgotten: sent as if for the first time.
        arrived.update(state=ExportState.COUNTED)
        unsure.update(state=ExportState.NEW, tried_at=None, next_attempt_at=now)
    elif now > end + PARKED_AFTER:
        problem = f"The meter counts {counted} micro-dollars on {day}, we sent {_sum(arrived) + _sum(unsure)}."
        logger.error("account %s: %s", account_id, problem)
        rows.filter(state__in=[ExportState.SENT, ExportState.UNSURE]).update(state=ExportState.PARKED, problem=problem)


def _sum(rows: QuerySet[UsageExport]) -> int:
    return int(rows.aggregate(s=Sum("value_microusd"))["s"] or 0)
