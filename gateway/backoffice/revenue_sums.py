"""The operator's revenue by UTC month: from the sums of months (billing.revenue_months) and the subscriptions.

Reads only, and never a generation nor a single charge. Amounts are micro-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncMonth

from billing.entitlements import plan_in_force
from billing.errors import PlanUnknown
from billing.models import CohortMonth, StripePrice, Subscription, Wallet
from billing.money import microusd_from_cents
from billing.postpaid import METERED
from billing.revenue import month_number, month_start
from billing.revenue_months import MONTHS, Told, months_told

# Statuses of a subscription that is paid for; a trial pays nothing yet, and the others never began or stopped.
PAYING = ("active", "past_due")


@dataclass(slots=True, kw_only=True)
class Month:
    """One UTC month. What is None cannot be told: the month runs still, or nothing was there before it."""

    number: int
    paid_in_microusd: int = 0
    # What of that was paid to the payment sandbox.
    sandbox_microusd: int = 0
    given_microusd: int = 0
    returned_microusd: int = 0
    charged_microusd: int = 0
    plans_microusd: int = 0
    closing_microusd: int = 0
    payers: int = 0
    payers_kept: int | None = None
    payers_before: int = 0
    mrr_microusd: int = 0
    subscriptions: int = 0
    subscriptions_begun: int = 0
    subscriptions_ended: int = 0
    subscriptions_before: int = 0

    @property
    def start(self) -> datetime:
        return month_start(self.number)

    @property
    def revenue_microusd(self) -> int:
        return self.charged_microusd + self.plans_microusd

    @property
    def arpu_microusd(self) -> int | None:
        """Per account that brought something in; cut, not rounded."""
        return self.revenue_microusd // self.payers if self.payers else None

    @property
    def opening_microusd(self) -> int:
        moved = self.paid_in_microusd + self.given_microusd + self.returned_microusd - self.charged_microusd
        return self.closing_microusd - moved

    @property
    def moved(self) -> bool:
        """Whether anything happened in it, or was there at its end."""
        return any((self.paid_in_microusd, self.revenue_microusd, self.subscriptions, self.closing_microusd))

    @property
    def churn(self) -> float | None:
        return self.subscriptions_ended / self.subscriptions_before if self.subscriptions_before else None

    @property
    def payer_churn(self) -> float | None:
        if self.payers_kept is None or not self.payers_before:
            return None
        return 1 - self.payers_kept / self.payers_before


@dataclass(slots=True, kw_only=True)
class Cohort:
    """The accounts of one sign-up month. `revenue_microusd` is by month since, the sign-up month first."""

    number: int
    accounts: int = 0
    payers: int = 0
    revenue_microusd: list[int] = field(default_factory=list)

    @property
    def start(self) -> datetime:
        return month_start(self.number)

    @property
    def total_microusd(self) -> int:
        return sum(self.revenue_microusd)


@dataclass(frozen=True, slots=True)
class Liability:
    """What wallets hold: owed to customers, owed by them, and reserved for calls under way."""

    owed_microusd: int
    owing_microusd: int
    held_microusd: int

    @property
    def balance_microusd(self) -> int:
        return self.owed_microusd - self.owing_microusd


def liability() -> Liability:
    sums = Wallet.objects.aggregate(
        owed=Sum("balance_microusd", filter=Q(balance_microusd__gt=0)),
        owing=Sum("balance_microusd", filter=Q(balance_microusd__lt=0)),
        held=Sum("held_microusd"),
    )
    return Liability(sums["owed"] or 0, -(sums["owing"] or 0), sums["held"] or 0)


def told_now(now: datetime) -> Told:
    """The running month, those that are shown with it, and the one that the first of them is compared with."""
    last = month_number(now.astimezone(UTC).date())
    return months_told(last - MONTHS, last)


def months(now: datetime, told: Told, owed: Liability) -> list[Month]:
    """The running month and those before it, the newest first."""
    found = {number: Month(number=number) for number in sorted(told.months, reverse=True)[:MONTHS]}
    for number, month in found.items():
        sums = told.months[number]
        month.paid_in_microusd, month.sandbox_microusd = sums.paid_in_microusd, sums.sandbox_microusd
        month.given_microusd, month.returned_microusd = sums.given_microusd, sums.returned_microusd
        # One that is not folded yet, as the running one, cannot be judged.
        month.payers_kept = 0 if sums.folded else None
    for cohort in told.cohorts:
        _add_cohort(found, cohort)
    _subscribed(found, now)
    closing = owed.balance_microusd
    for month in found.values():
        month.closing_microusd = closing
        closing = month.opening_microusd
    return list(found.values())


def _add_cohort(found: dict[int, Month], cohort: CohortMonth) -> None:
    if (month := found.get(cohort.month)) is not None:
        month.charged_microusd += cohort.charged_microusd
        month.plans_microusd += cohort.plans_microusd
        month.payers += cohort.payers
        if month.payers_kept is not None:
            month.payers_kept += cohort.payers_kept
    if (after := found.get(cohort.month + 1)) is not None:
        after.payers_before += cohort.payers


def _subscribed(found: dict[int, Month], now: datetime) -> None:
    """Subscriptions as they stand now, laid back over the months: one that changed its plan counts with today's."""
    rows = (
        _paying()
        .annotate(begun=TruncMonth("created_at", tzinfo=UTC), ended=TruncMonth("ends_at", tzinfo=UTC))
        .values_list("price_id", "plan_code", "status", "begun", "ended")
        .annotate(Count("pk"))
        .order_by()
    )
    cents = dict(StripePrice.objects.values_list("stripe_id", "amount_cents"))
    plan_cents = cache(partial(_plan_cents, now=now))
    for price_id, plan_code, status, begun_at, ends_at, count in rows:
        price_microusd = microusd_from_cents(cents.get(price_id) or plan_cents(plan_code))
        begun = month_number(begun_at)
        ended = month_number(ends_at) if status in Subscription.ENDED else None
        for number, month in found.items():
            if begun <= number and (ended is None or ended > number):
                month.mrr_microusd += count * price_microusd
                month.subscriptions += count
            if begun < number and (ended is None or ended >= number):
                month.subscriptions_before += count
            month.subscriptions_begun += count if begun == number else 0
            month.subscriptions_ended += count if ended == number else 0


def _paying() -> QuerySet[Subscription]:
    """Those that are paid for now, and those that were until they ended."""
    paid = Q(status__in=PAYING) | Q(status="canceled", ends_at__isnull=False)
    return Subscription.objects.filter(paid).exclude(plan_code__in=("", METERED))


def _plan_cents(plan_code: str, *, now: datetime) -> int:
    """The list price, for a subscription to a price that is no longer known."""
    try:
        return plan_in_force(plan_code, now).monthly_price_cents
    except PlanUnknown:
        return 0


def cohorts(told: Told) -> list[Cohort]:
    """By sign-up month, the newest first; of the same months as `months`."""
    last = max(told.months)
    shown = sorted(told.months, reverse=True)[:MONTHS]
    found = {
        number: Cohort(
            number=number,
            accounts=told.months[number].accounts,
            payers=told.payers.get(number, 0),
            revenue_microusd=[0] * (last - number + 1),
        )
        for number in shown
    }
    for one in told.cohorts:
        if one.signed_up in found and one.month >= one.signed_up:
            amounts = found[one.signed_up].revenue_microusd
            amounts[one.month - one.signed_up] += one.charged_microusd + one.plans_microusd
    return list(found.values())
