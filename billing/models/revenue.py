"""What each account brought in by month, and the paid invoices of plans, which stand in no wallet's books."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from accounts.models import Account
from billing.models.payments import Mode


class PlanPayment(models.Model):
    """A paid invoice of a plan as the provider showed it: its lines for the plan, less their discounts, without tax.
    What is invoiced for single calls is an entry of the ledger instead."""

    stripe_id = models.CharField(max_length=64, unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=7, choices=Mode.choices)
    plan_code = models.CharField(max_length=24)
    amount_cents = models.PositiveIntegerField()
    paid_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.stripe_id} for {self.plan_code}"


class AccountMonth(models.Model):
    """What one account brought in during one UTC month: charges of its calls, day by day as days are folded
    (UsageHouseDay), and paid plans as they are paid.

    `month` counts from the year zero (12 * year + month - 1), so that the next one is one more.
    """

    id = models.BigAutoField(primary_key=True)
    # Copied from roll-ups, which know accounts by number alone.
    account = models.ForeignKey(
        Account, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    month = models.PositiveIntegerField(db_index=True)
    charged_microusd = models.BigIntegerField(default=0)
    plans_microusd = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account", "month"], name="account_month_once")]

    def __str__(self) -> str:
        return f"{self.account_id} in {self.month // 12}-{self.month % 12 + 1:02}"
