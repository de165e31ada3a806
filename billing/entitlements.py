"""What an account may do now: its plan in force with its overrides, as one frozen value for one call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet

from accounts.addresses import site_url
from billing.errors import PlanUnknown, WalletMissing
from billing.models import Plan, Wallet

EVERY_MODEL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The plan of one account at one moment. Limits are calls; `weight` is its share of busy render workers."""

    plan_code: str
    plan_name: str
    calls_per_minute: int
    queued_calls: int
    free_calls_per_day: int
    has_allowance: bool
    unlimited_price_codes: tuple[str, ...]
    pays_from_funds: bool
    charge_flagged_images: bool
    weight: int
    dedicated_workers: bool
    in_arrears: bool
    spend_limit_microusd: int | None = None
    postpaid_limit_microusd: int | None = None

    def covers(self, price_code: str) -> bool:
        """Whether images under this price code cost nothing extra."""
        return EVERY_MODEL in self.unlimited_price_codes or price_code in self.unlimited_price_codes


OVERRIDABLE = frozenset({"calls_per_minute", "queued_calls", "free_calls_per_day", "weight", "unlimited_price_codes"})


def plan_in_force(code: str, now: datetime) -> Plan:
    plan = _versions(code, now).first()
    if plan is None:
        raise PlanUnknown(plan=code)
    return plan


def plan_name(code: str, moment: datetime) -> str:
    """What the plan was called then; its code where it was none."""
    return _versions(code, moment).values_list("name", flat=True).first() or code


def _versions(code: str, moment: datetime) -> QuerySet[Plan]:
    """Those that had come by then, the one in force first."""
    return Plan.objects.filter(code=code, effective_from__lte=moment).order_by("-effective_from")


def terms_of(account_id: int, *, now: datetime) -> Terms:
    wallet = Wallet.objects.filter(pk=account_id).first()
    if wallet is None:
        raise WalletMissing(account_id=account_id)
    return terms_from(wallet, plan_in_force(wallet.plan_code, now))


def terms_from(wallet: Wallet, plan: Plan) -> Terms:
    values: dict[str, Any] = {
        "calls_per_minute": plan.calls_per_minute,
        "queued_calls": plan.queued_calls,
        "free_calls_per_day": plan.free_calls_per_day,
        "weight": plan.weight,
        "unlimited_price_codes": plan.unlimited_price_codes,
    }
    values |= {name: value for name, value in wallet.overrides.items() if name in OVERRIDABLE}
    values["unlimited_price_codes"] = tuple(values["unlimited_price_codes"])
    return Terms(
        plan_code=plan.code,
        plan_name=plan.name,
        has_allowance=plan.period_calls is not None,
        pays_from_funds=plan.pays_from_funds or wallet.continue_from_funds,
        charge_flagged_images=plan.charge_flagged_images,
        dedicated_workers=plan.dedicated_workers,
        in_arrears=wallet.in_arrears,
        spend_limit_microusd=wallet.spend_limit_microusd,
        postpaid_limit_microusd=wallet.postpaid_limit_microusd,
        **values,
    )


def day_of(now: datetime) -> date:
    """The UTC day, everywhere: of quotas, of budgets, of statements."""
    return now.astimezone(UTC).date()


def month_of(now: datetime) -> datetime:
    """The beginning of the UTC month: of budgets, of statements."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_end(now: datetime) -> datetime:
    """The beginning of the next UTC month."""
    return month_of(month_of(now) + timedelta(days=32))


def day_end(now: datetime) -> datetime:
    """When the free calls of this UTC day reset."""
    return datetime.combine(day_of(now) + timedelta(days=1), time.min, tzinfo=UTC)


def billing_url() -> str:
    """Where a customer goes on after a refusal, and what mails about money link to."""
    return site_url("/dashboard/billing/")
