"""What each account brought in by month, the sums of ended months, and the paid invoices of plans, which stand in no
wallet's books.

Months count from the year zero (12 * year + month - 1), so that the next one is one more.
"""

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

    class Meta:
        indexes: ClassVar = [models.Index(fields=["paid_at"], name="plan_payment_by_time")]

    def __str__(self) -> str:
        return f"{self.stripe_id} for {self.plan_code}"


class AccountMonth(models.Model):
    """What one account brought in during one UTC month: charges of its calls, day by day as days are folded
    (UsageHouseDay), and paid plans as they are paid."""

    id = models.BigAutoField(primary_key=True)
    # Copied from roll-ups, which know accounts by number alone.
    account = models.ForeignKey(
        Account, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    month = models.PositiveIntegerField(db_index=True)
    # The month of the account's sign-up, so that cohorts are summed without a look at the accounts.
    signed_up = models.PositiveIntegerField(default=0)
    charged_microusd = models.BigIntegerField(default=0)
    plans_microusd = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account", "month"], name="account_month_once")]

    def __str__(self) -> str:
        return f"{self.account_id} in {month_text(self.month)}"


class RevenueMonth(models.Model):
    """Sign-ups and movements of money of one ended UTC month, as everybody's accounts and the ledger have them.

    While it is not `folded`, its sums and those of its CohortMonths say nothing. The row is also what a fold of the
    month holds locked.
    """

    month = models.PositiveIntegerField(primary_key=True)
    folded = models.BooleanField(default=False)
    accounts = models.PositiveIntegerField(default=0)
    paid_in_microusd = models.BigIntegerField(default=0)
    # What of that was paid to the payment sandbox.
    sandbox_microusd = models.BigIntegerField(default=0)
    given_microusd = models.BigIntegerField(default=0)
    returned_microusd = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return month_text(self.month)


class CohortMonth(models.Model):
    """What the accounts that signed up in one month brought in during another, which has ended: their AccountMonths
    together."""

    id = models.BigAutoField(primary_key=True)
    signed_up = models.PositiveIntegerField()
    month = models.PositiveIntegerField()
    charged_microusd = models.BigIntegerField(default=0)
    plans_microusd = models.BigIntegerField(default=0)
    # Accounts that brought in something, and those of them that did in the month before as well.
    payers = models.PositiveIntegerField(default=0)
    payers_kept = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["month", "signed_up"], name="cohort_month_once")]

    def __str__(self) -> str:
        return f"{month_text(self.signed_up)} in {month_text(self.month)}"


class Payer(models.Model):
    """An account that paid funds or a plan in a month that is folded. It never stops to be one."""

    # Without a constraint: a fold shall lock nobody's account.
    account = models.OneToOneField(
        Account, on_delete=models.DO_NOTHING, db_constraint=False, primary_key=True, related_name="+"
    )
    signed_up = models.PositiveIntegerField(db_index=True)

    def __str__(self) -> str:
        return f"{self.account_id}, signed up in {month_text(self.signed_up)}"


def month_text(number: int) -> str:
    return f"{number // 12}-{number % 12 + 1:02}"
