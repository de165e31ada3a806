"""What would pay for one more call of an account and what it would leave, told before the click; admission decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from accounts.models import Account
from billing.entitlements import day_of, terms_of
from billing.models import Allowance, UsageDay, Wallet
from gateway.templatetags.units import money, number, spent


@dataclass(frozen=True, slots=True)
class Payment:
    """`source` is unlimited, allowance, free_day, funds, postpaid or none. `calls_left` and `calls_limit` are of the
    allowance or of the free day; `balance_microusd` is what funds may still spend."""

    source: str
    plan_name: str
    calls_left: int = 0
    calls_limit: int = 0
    balance_microusd: int = 0

    def text(self, total_microusd: int) -> str:
        """In words, for a call whose images cost `total_microusd` at list price."""
        texts = {
            "unlimited": _("Included in {plan}, without a limit."),
            "allowance": _("One of your plan's calls: {left} of {limit} left after it."),
            "free_day": _("A free call: {left} of {limit} left after it."),
            "postpaid": _("Invoiced at the end of the month."),
            "none": _("{plan} has no call left: add funds or take a plan."),
        }
        if self.source != "funds":
            left, limit = number(max(self.calls_left - 1, 0)), number(self.calls_limit)
            return texts[self.source].format(plan=self.plan_name, left=left, limit=limit)
        after = self.balance_microusd - total_microusd
        if after < 0:
            text = _("Your funds are {balance}: it needs {missing} more.")
            return text.format(balance=money(self.balance_microusd), missing=spent(-after))
        return _("From funds: {after} left after it.").format(after=money(after))

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "plan": self.plan_name,
            "left": self.calls_left,
            "limit": self.calls_limit,
            "balance": self.balance_microusd,
        }


def payment_of(account: Account, *, price_code: str, now: datetime) -> Payment:
    """In the order in which admission asks: unlimited, the plan's calls, the free day, funds."""
    terms = terms_of(account.pk, now=now)
    wallet = Wallet.objects.get(pk=account.pk)
    name = terms.plan_name
    if terms.covers(price_code):
        return Payment("unlimited", name)
    grants = Allowance.objects.filter(account_id=account.pk, period_start__lte=now, period_end__gt=now)
    granted, used = map(sum, zip(*grants.values_list("calls_granted", "calls_used"), strict=True)) if grants else (0, 0)
    if used < granted:
        return Payment("allowance", name, calls_left=granted - used, calls_limit=granted)
    free = terms.free_calls_per_day
    taken = UsageDay.objects.filter(account_id=account.pk, day=day_of(now)).values_list("calls", flat=True).first() or 0
    if taken < free:
        return Payment("free_day", name, calls_left=free - taken, calls_limit=free)
    if wallet.postpaid_limit_microusd is not None:
        return Payment("postpaid", name)
    if terms.pays_from_funds:
        return Payment("funds", name, balance_microusd=wallet.available_microusd)
    return Payment("none", name)
