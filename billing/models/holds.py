"""Reservations, the counters that they take from, and the roll-up of what was settled."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from accounts.models import Account


class Source(models.TextChoices):
    """What pays for a call."""

    UNLIMITED = "unlimited"
    ALLOWANCE = "allowance"
    FREE_DAY = "free_day"
    FUNDS = "funds"
    POSTPAID = "postpaid"


# What moves the wallet: held at admission, booked at capture.
MONEY = (Source.FUNDS, Source.POSTPAID)


class HoldState(models.TextChoices):
    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"


class Hold(models.Model):
    """The reservation of one generation: what pays, at which frozen price, and what came of it.

    Every generation has exactly one, the free ones too, so that "counted and charged exactly once" is one rule:
    open -> captured(k images) | released, by one conditional UPDATE that only one caller can win.
    """

    reference = models.BigIntegerField(primary_key=True)
    account_id = models.BigIntegerField()
    source = models.CharField(max_length=9, choices=Source.choices)
    state = models.CharField(max_length=8, choices=HoldState.choices, default=HoldState.OPEN)
    unit_price_microusd = models.BigIntegerField(default=0)
    images_held = models.PositiveSmallIntegerField()
    images_captured = models.PositiveSmallIntegerField(default=0)
    # What to give back to on release: the UTC day of a free call, the row of an allowance.
    day = models.DateField(null=True)
    allowance_id = models.BigIntegerField(null=True)
    key_id = models.BigIntegerField(null=True)
    # Which counters of the month of `created_at` this hold stands in, as bits: 1 the account's, 2 the key's, 4 that of
    # what is invoiced afterwards.
    spend_scopes = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="hold_open", condition=Q(state="open")),
        ]

    def __str__(self) -> str:
        return f"hold {self.reference} {self.state}"

    @property
    def amount_microusd(self) -> int:
        return self.unit_price_microusd * self.images_held


class UsageDay(models.Model):
    """Free calls of one account on one UTC day. A new day is a new row, so there is no reset that could fail."""

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    day = models.DateField()
    calls = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account_id", "day"], name="usage_day_once")]

    def __str__(self) -> str:
        return f"{self.account_id} {self.day}: {self.calls}"


class Allowance(models.Model):
    """Calls granted for one paid period. `grant_key` names the invoice: one paid invoice grants once."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="allowances")
    grant_key = models.CharField(max_length=80, unique=True)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    calls_granted = models.PositiveIntegerField()
    calls_used = models.PositiveIntegerField(default=0)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["account", "period_end"], name="allowance_current")]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(calls_used__lte=F("calls_granted")), name="allowance_never_overdrawn")
        ]

    def __str__(self) -> str:
        return f"{self.calls_used} of {self.calls_granted} until {self.period_end:%Y-%m-%d}"


class SpendMonth(models.Model):
    """Spending in one UTC month, of an account (key_id 0), of one key, or of what is invoiced afterwards (key_id -1),
    kept once there is a limit.

    `counted_microusd` is the sum of the holds that name this counter, open ones in full; `opening_microusd` is what had
    been spent before the counter began.
    """

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    key_id = models.BigIntegerField(default=0)
    month = models.DateField()
    opening_microusd = models.BigIntegerField(default=0)
    counted_microusd = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account_id", "key_id", "month"], name="spend_month_once"),
            models.CheckConstraint(condition=Q(counted_microusd__gte=0), name="spend_month_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}/{self.key_id} {self.month:%Y-%m}: {self.opening_microusd + self.counted_microusd}"


class RollUp(models.Model):
    """What every roll-up of settled calls says of them: whose, by what, and how many. Times are milliseconds."""

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model_id = models.CharField(max_length=120)
    endpoint = models.CharField(max_length=60)
    plan_code = models.CharField(max_length=24)
    source = models.CharField(max_length=9)
    status = models.CharField(max_length=10)
    calls = models.PositiveIntegerField(default=0)
    images = models.PositiveIntegerField(default=0)
    amount_microusd = models.BigIntegerField(default=0)
    run_ms = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


class UsageBucket(RollUp):
    """Roll-up of settled calls in one quarter of an hour (UTC), fed inside the settling transaction.

    Quarters, because every time zone's days are made of whole ones. Charts and pages read only this.
    """

    bucket = models.DateTimeField()
    size = models.CharField(max_length=11)
    list_price_microusd = models.BigIntegerField(default=0)
    wait_ms = models.BigIntegerField(default=0)
    gpu_time_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=[
                    "bucket",
                    "account_id",
                    "key_id",
                    "model_id",
                    "endpoint",
                    "plan_code",
                    "source",
                    "status",
                    "size",
                ],
                name="usage_bucket_once",
            )
        ]
        indexes: ClassVar = [models.Index(fields=["account_id", "bucket"], name="usage_bucket_by_account")]

    def __str__(self) -> str:
        return f"{self.bucket:%Y-%m-%d %H:%M} {self.account_id} {self.model_id}: {self.calls}"


class UsageFold(RollUp):
    """One ended day of an account, in the account's own time zone: its quarters of an hour added up.

    Quarters of the past never change, so this is only a shorter way to the same sums: long spans read it.
    """

    day = models.DateField()
    size = models.CharField(max_length=11)
    wait_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account_id", "day", "key_id", "model_id", "endpoint", "plan_code", "source", "status", "size"],
                name="usage_fold_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.account_id} {self.model_id}: {self.calls}"


class UsageFolding(models.Model):
    """How far an account's days are folded, and by which zone's midnights. Another zone begins again."""

    account_id = models.BigIntegerField(primary_key=True)
    zone = models.CharField(max_length=64)
    # The last folded day; days after it are read from their quarters.
    through = models.DateField()

    def __str__(self) -> str:
        return f"{self.account_id} through {self.through} in {self.zone}"


class UsageHouseDay(RollUp):
    """One ended UTC day of all accounts: their quarters of an hour added up, sizes together.

    The operator's pages read it in place of the quarters, whose sums it repeats exactly.
    """

    day = models.DateField()
    list_price_microusd = models.BigIntegerField(default=0)
    gpu_time_ms = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["day", "account_id", "key_id", "model_id", "endpoint", "plan_code", "source", "status"],
                name="usage_house_day_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.account_id} {self.model_id}: {self.calls}"
