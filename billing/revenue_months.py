"""The sums of months for the operator's revenue: folded for months that ended, added up from the rows for others.

Both are the same sums of the same functions. Folding may run twice, late or never: a month that is not folded is only
slower to read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import TruncMonth

from accounts.models import Account
from billing.models import (
    AccountMonth,
    CohortMonth,
    EntryKind,
    LedgerEntry,
    Payer,
    PlanPayment,
    RevenueMonth,
    UsageBucket,
)
from billing.revenue import GIVEN, PAID_IN, RETURNED, month_number, month_start
from billing.usage_days import CLOSED_AFTER, day_start, house_folded_through

# How many ended months are folded: a year, and the one that its first month is compared with.
MONTHS = 12
BATCH = 2000
_PAYING = Q(charged_microusd__gt=0) | Q(plans_microusd__gt=0)


@dataclass(frozen=True, slots=True)
class Told:
    """What a span of months came to. Months that are not folded say nothing of `payers_kept`."""

    months: dict[int, RevenueMonth]
    cohorts: list[CohortMonth]
    # Accounts that ever paid, by the month of their sign-up.
    payers: dict[int, int]


def months_told(first: int, last: int) -> Told:
    """Read again when a day was folded meanwhile: its charges may have been read from both places, or from none."""
    through = house_folded_through()
    while True:
        found = _told(range(first, last + 1), through)
        before, through = through, house_folded_through()
        if through == before:
            return found


def _told(numbers: range, through: date | None) -> Told:
    folded = {month.month: month for month in RevenueMonth.objects.filter(folded=True, month__in=numbers)}
    cohorts = list(CohortMonth.objects.filter(month__in=list(folded)))
    running = [number for number in numbers if number not in folded]
    known = Payer.objects.filter(signed_up__in=numbers).values_list("signed_up").annotate(Count("pk")).order_by()
    payers = dict(known)
    for start, count in _by_month(_new_payers(running), "created_at").annotate(Count("pk")):
        number = month_number(start)
        payers[number] = payers.get(number, 0) + count
    return Told(folded | _movements(running), cohorts + _income(running, through), payers)


def months_fold(*, now: datetime) -> int:
    """Fold the months that ended and are not folded, each in a transaction of its own. Returns how many were."""
    last = month_number(now.astimezone(UTC).date())
    ended = range(last - MONTHS, last)
    done = set(RevenueMonth.objects.filter(folded=True, month__in=ended).values_list("month", flat=True))
    return sum(_month_fold(number, now) for number in ended if number not in done)


@transaction.atomic
def _month_fold(number: int, now: datetime) -> bool:
    """False when it is too early, or another run was faster."""
    locked, _ = RevenueMonth.objects.select_for_update().get_or_create(month=number)
    through = house_folded_through()
    if locked.folded or not _closed(number, now, through):
        return False
    CohortMonth.objects.filter(month=number).delete()
    cohorts, kept = _income([number], through), _kept(number)
    for cohort in cohorts:
        cohort.payers_kept = kept.get(cohort.signed_up, 0)
    CohortMonth.objects.bulk_create(cohorts)
    people = _new_payers([number]).values_list("pk", "created_at")
    payers = [Payer(account_id=pk, signed_up=month_number(_day(at))) for pk, at in people.iterator(chunk_size=BATCH)]
    Payer.objects.bulk_create(payers, batch_size=BATCH, ignore_conflicts=True)
    month = _movements([number])[number]
    month.folded = True
    month.save(force_update=True)
    return True


def _closed(number: int, now: datetime, through: date | None) -> bool:
    """Whether nobody writes into the month any more, and all of its charges are in AccountMonth."""
    end = month_start(number + 1)
    return now >= end + CLOSED_AFTER and not _unfolded(through).filter(bucket__lt=end).exists()


def _unfolded(through: date | None) -> QuerySet[UsageBucket]:
    """The charges that AccountMonth does not have yet, as `through` is the last day that it has."""
    charged = UsageBucket.objects.exclude(amount_microusd=0)
    return charged if through is None else charged.filter(bucket__gte=day_start(through + timedelta(days=1), "UTC"))


def _movements(numbers: Collection[int]) -> dict[int, RevenueMonth]:
    """Sign-ups, and the ledger besides its charges, which an index of their own has."""
    found = {number: RevenueMonth(month=number) for number in numbers}
    signed_up = Account.objects.filter(_within("created_at", numbers))
    for start, count in _by_month(signed_up, "created_at").annotate(Count("pk")):
        found[month_number(start)].accounts = count
    entries = _by_month(_entries(numbers), "created_at", "kind", "sandbox")
    for start, kind, sandbox, total in entries.annotate(Sum("amount_microusd")):
        month = found[month_number(start)]
        if kind in PAID_IN:
            month.paid_in_microusd += total
            month.sandbox_microusd += total if sandbox else 0
        elif kind in GIVEN:
            month.given_microusd += total
        elif kind in RETURNED:
            month.returned_microusd += total
    return found


def _entries(numbers: Collection[int]) -> QuerySet[LedgerEntry]:
    return LedgerEntry.objects.exclude(kind=EntryKind.CAPTURE).filter(_within("created_at", numbers))


def _income(numbers: Collection[int], through: date | None) -> list[CohortMonth]:
    """What was brought in, without `payers_kept`."""
    found: dict[tuple[int, int], CohortMonth] = {}
    brought = AccountMonth.objects.filter(month__in=numbers).values_list("month", "signed_up").order_by()
    sums = brought.annotate(Sum("charged_microusd"), Sum("plans_microusd"), payers=Count("pk", filter=_PAYING))
    for number, signed_up, charged, plans, payers in sums:
        cohort = _cohort(found, number, signed_up)
        cohort.charged_microusd, cohort.plans_microusd, cohort.payers = charged, plans, payers
    for number in numbers:
        _add_unfolded(found, number, through)
    return list(found.values())


def _add_unfolded(found: dict[tuple[int, int], CohortMonth], number: int, through: date | None) -> None:
    """The charges of the month's last days."""
    start, end = month_start(number), month_start(number + 1)
    if through is not None and day_start(through + timedelta(days=1), "UTC") >= end:
        return
    charges = _unfolded(through).filter(bucket__gte=start, bucket__lt=end)
    totals = dict(charges.values_list("account_id").annotate(Sum("amount_microusd")).order_by())
    counted = AccountMonth.objects.filter(_PAYING, month=number, account__in=charges.values("account_id"))
    known = dict(counted.values_list("account_id", "signed_up"))
    new = Account.objects.filter(pk__in=totals.keys() - known.keys()).values_list("pk", "created_at")
    others = {pk: month_number(_day(moment)) for pk, moment in new}
    for account_id, signed_up in (known | others).items():
        cohort = _cohort(found, number, signed_up)
        cohort.charged_microusd += totals[account_id]
        cohort.payers += account_id in others


def _cohort(found: dict[tuple[int, int], CohortMonth], number: int, signed_up: int) -> CohortMonth:
    if (number, signed_up) not in found:
        found[number, signed_up] = CohortMonth(month=number, signed_up=signed_up)
    return found[number, signed_up]


def _kept(number: int) -> dict[int, int]:
    """Payers of the month that were payers in the month before, by their month of sign-up."""
    before = AccountMonth.objects.filter(_PAYING, account=OuterRef("account"), month=number - 1)
    kept = AccountMonth.objects.filter(_PAYING, Exists(before), month=number)
    return dict(kept.values_list("signed_up").annotate(Count("pk")).order_by())


def _new_payers(numbers: Collection[int]) -> QuerySet[Account]:
    """Who paid in these months and is not known as a payer."""
    paid_in = _entries(numbers).filter(kind__in=PAID_IN).values("wallet_id")
    plans = PlanPayment.objects.filter(_within("paid_at", numbers)).values("account_id")
    known = Payer.objects.filter(account=OuterRef("pk"))
    return Account.objects.filter(~Exists(known), pk__in=paid_in.union(plans))


def _within(column: str, numbers: Collection[int]) -> Q:
    found = Q(pk__in=())
    for number in numbers:
        found |= Q(**{f"{column}__gte": month_start(number), f"{column}__lt": month_start(number + 1)})
    return found


def _by_month(rows: QuerySet[Any], column: str, *others: str) -> QuerySet[Any, tuple[Any, ...]]:
    """Grouped by the UTC month of a moment, as its beginning, and by other columns."""
    months: QuerySet[Any] = rows.order_by().annotate(month_start=TruncMonth(column, tzinfo=UTC))
    return months.values_list("month_start", *others)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
