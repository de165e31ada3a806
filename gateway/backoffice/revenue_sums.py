"""The operator's revenue by UTC month: from the ledger's movements, the roll-up of charges and the subscriptions.

Reads only, and never a generation nor a single charge: charges come from AccountMonth, and those of the days that are
not folded yet from the roll-up of quarters. Amounts are micro-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import ExtractMonth, ExtractYear

from accounts.models import Account
from billing.entitlements import plan_in_force
from billing.errors import PlanUnknown
from billing.models import AccountMonth, EntryKind, LedgerEntry, PlanPayment, StripePrice, Subscription, Wallet
from billing.money import microusd_from_cents
from billing.postpaid import METERED
from billing.revenue import month_number, month_start
from billing.usage_days import day_start, house_folded_through
from gateway.backoffice.figures import GIVEN, PAID_IN, RETURNED
from gateway.backoffice.sums import DAY, usage_parts

MONTHS = 12
# Statuses of a subscription that is paid for; a trial pays nothing yet, and the others never began or stopped.
PAYING = ("active", "past_due")
CHARGED = Sum("charged_microusd") + Sum("plans_microusd")


@dataclass(slots=True, kw_only=True)
class Month:
    """One UTC month. What is None cannot be told: the month runs still, or nothing was there before it."""

    number: int
    paid_in_microusd: int = 0
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


Fresh = dict[int, dict[int, int]]


def fresh_charges(now: datetime) -> Fresh:
    """What was charged since the last folded day: by month, then by account."""
    through = house_folded_through()
    never = month_start(month_number(now.astimezone(UTC).date()) - MONTHS)
    start = never if through is None else day_start(through + DAY, "UTC")
    found: Fresh = {}
    while start < now:
        number = month_number(start.date())
        end = min(month_start(number + 1), now)
        quarters = usage_parts(start, end, through=None).quarters.exclude(amount_microusd=0)
        found[number] = dict(quarters.values_list("account_id").annotate(total=Sum("amount_microusd")).order_by())
        start = end
    return found


def liability() -> Liability:
    sums = Wallet.objects.aggregate(
        owed=Sum("balance_microusd", filter=Q(balance_microusd__gt=0)),
        owing=Sum("balance_microusd", filter=Q(balance_microusd__lt=0)),
        held=Sum("held_microusd"),
    )
    return Liability(sums["owed"] or 0, -(sums["owing"] or 0), sums["held"] or 0)


def months(now: datetime, fresh: Fresh, owed: Liability) -> list[Month]:
    """The running month and those before it, the newest first."""
    last = month_number(now.astimezone(UTC).date())
    found = {number: Month(number=number) for number in range(last, last - MONTHS, -1)}
    _movements(found)
    _income(found, fresh)
    _subscribed(found, now)
    closing = owed.balance_microusd
    for month in found.values():
        month.closing_microusd = closing
        closing = month.opening_microusd
    return list(found.values())


def _number(column: str) -> Any:
    """The month of a moment's UTC day, as AccountMonth counts."""
    return ExtractYear(column, tzinfo=UTC) * 12 + ExtractMonth(column, tzinfo=UTC) - 1


def _movements(found: dict[int, Month]) -> None:
    """The ledger besides its charges, which an index of their own has."""
    entries = LedgerEntry.objects.exclude(kind=EntryKind.CAPTURE).filter(created_at__gte=month_start(min(found)))
    sums = entries.annotate(number=_number("created_at")).values_list("number", "kind")
    for number, kind, total in sums.annotate(total=Sum("amount_microusd")).order_by():
        if (month := found.get(number)) is None:
            continue
        if kind in PAID_IN:
            month.paid_in_microusd += total
        elif kind in GIVEN:
            month.given_microusd += total
        elif kind in RETURNED:
            month.returned_microusd += total


def _income(found: dict[int, Month], fresh: Fresh) -> None:
    brought = AccountMonth.objects.filter(month__gte=min(found) - 1).filter(_PAYING_MONTH)
    again = AccountMonth.objects.filter(_PAYING_MONTH, account=OuterRef("account"), month=OuterRef("month") + 1)
    sums = brought.values_list("month").annotate(
        charged=Sum("charged_microusd"),
        plans=Sum("plans_microusd"),
        payers=Count("pk"),
        kept=Count("pk", filter=Exists(again)),
    )
    told = {number: rest for number, *rest in sums.order_by()}
    for number, month in found.items():
        charged, plans, payers, _ = told.get(number, (0, 0, 0, 0))
        _, _, payers_before, kept = told.get(number - 1, (0, 0, 0, 0))
        late = fresh.get(number, {})
        month.charged_microusd, month.plans_microusd = charged + sum(late.values()), plans
        month.payers, month.payers_before = payers + _new_among(late, number), payers_before
        # The running month, and one whose last days are not folded yet, cannot be judged.
        month.payers_kept = None if late or number == max(found) else kept


_PAYING_MONTH = Q(charged_microusd__gt=0) | Q(plans_microusd__gt=0)


def _new_among(late: dict[int, int], number: int) -> int:
    """How many of these accounts brought in nothing else in that month."""
    if not late:
        return 0
    known = AccountMonth.objects.filter(_PAYING_MONTH, month=number, account_id__in=list(late)).count()
    return len(late) - known


def _subscribed(found: dict[int, Month], now: datetime) -> None:
    """Subscriptions as they stand now, laid back over the months: one that changed its plan counts with today's."""
    counts: dict[str, Any] = {}
    for number in found:
        start, end = month_start(number), month_start(number + 1)
        ended = Q(status__in=Subscription.ENDED)
        counts[f"before_{number}"] = _count(Q(created_at__lt=start) & (~ended | Q(ends_at__gte=start)))
        counts[f"at_{number}"] = _count(Q(created_at__lt=end) & (~ended | Q(ends_at__gte=end)))
        counts[f"begun_{number}"] = _count(Q(created_at__gte=start, created_at__lt=end))
        counts[f"ended_{number}"] = _count(ended & Q(ends_at__gte=start, ends_at__lt=end))
    rows = _paying().values("price_id", "plan_code").annotate(**counts).order_by()
    cents = dict(StripePrice.objects.values_list("stripe_id", "amount_cents"))
    for row in rows:
        price_microusd = microusd_from_cents(cents.get(row["price_id"]) or _plan_cents(row["plan_code"], now))
        for number, month in found.items():
            month.mrr_microusd += row[f"at_{number}"] * price_microusd
            month.subscriptions += row[f"at_{number}"]
            month.subscriptions_begun += row[f"begun_{number}"]
            month.subscriptions_ended += row[f"ended_{number}"]
            month.subscriptions_before += row[f"before_{number}"]


def _count(condition: Q) -> Count:
    return Count("pk", filter=condition)


def _paying() -> QuerySet[Subscription]:
    """Those that are paid for now, and those that were until they ended."""
    paid = Q(status__in=PAYING) | Q(status="canceled", ends_at__isnull=False)
    return Subscription.objects.filter(paid).exclude(plan_code__in=("", METERED))


def _plan_cents(plan_code: str, now: datetime) -> int:
    """The list price, for a subscription to a price that is no longer known."""
    try:
        return plan_in_force(plan_code, now).monthly_price_cents
    except PlanUnknown:
        return 0


def cohorts(now: datetime, fresh: Fresh) -> list[Cohort]:
    """By sign-up month, the newest first; of the same months as `months`."""
    last = month_number(now.astimezone(UTC).date())
    first = last - MONTHS + 1
    found = {
        number: Cohort(number=number, revenue_microusd=[0] * (last - number + 1))
        for number in range(last, first - 1, -1)
    }
    people = Account.objects.filter(created_at__gte=month_start(first)).annotate(number=_number("created_at"))
    paid_in = LedgerEntry.objects.exclude(kind=EntryKind.CAPTURE).filter(kind__in=PAID_IN).values("wallet_id")
    paid = Q(pk__in=paid_in) | Q(pk__in=PlanPayment.objects.values("account_id"))
    counted = people.values_list("number").annotate(all=Count("pk"), paid=Count("pk", filter=paid)).order_by()
    for number, accounts, payers in counted:
        if number in found:
            found[number].accounts, found[number].payers = accounts, payers
    for joined, number, total in _revenue_since(first):
        if joined in found and number >= joined:
            found[joined].revenue_microusd[number - joined] += total
    for number, late in fresh.items():
        for account_id, joined in people.filter(pk__in=list(late)).values_list("pk", "number"):
            if joined in found and first <= number <= last:
                found[joined].revenue_microusd[number - joined] += late[account_id]
    return list(found.values())


def _revenue_since(first: int) -> list[tuple[int, int, int]]:
    """Sign-up month, month and what was brought in, of accounts that signed up since `first`."""
    rows = AccountMonth.objects.filter(month__gte=first, account__created_at__gte=month_start(first))
    sums = rows.annotate(joined=_number("account__created_at")).values_list("joined", "month")
    return list(sums.annotate(total=CHARGED).order_by())


def sandbox_microusd(found: list[Month]) -> int:
    """What of the money paid in was booked while the payment sandbox was in use."""
    entries = LedgerEntry.objects.exclude(kind=EntryKind.CAPTURE).filter(kind__in=PAID_IN, sandbox=True)
    return entries.filter(created_at__gte=found[-1].start).aggregate(total=Sum("amount_microusd"))["total"] or 0
