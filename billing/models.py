"""Plans and prices as dated facts; wallets, holds and the ledger. Amounts are integers of micro-dollars.

Generations are known here only as `reference`, an opaque integer. Rows of LedgerEntry are written by
billing.ledger alone and never change: the queryset refuses, and so does a trigger in the database.
"""

from __future__ import annotations

from typing import Any, ClassVar, Never

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import Account, User


class Plan(models.Model):
    """One version of a plan. The version in force is the newest whose `effective_from` has come; none is edited."""

    code = models.CharField(max_length=24)
    effective_from = models.DateTimeField()
    name = models.CharField(max_length=60)
    summary = models.CharField(max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(default=0)
    monthly_price_cents = models.PositiveIntegerField(default=0)
    stripe_lookup_key = models.CharField(max_length=60, blank=True)
    calls_per_minute = models.PositiveIntegerField()
    queued_calls = models.PositiveIntegerField()
    free_calls_per_day = models.PositiveIntegerField(default=0)
    # Calls granted once per paid invoice; None means that the plan has no such allowance.
    period_calls = models.PositiveIntegerField(null=True, blank=True)
    # Price codes whose images cost nothing under this plan; "*" is every model.
    unlimited_price_codes = models.JSONField(default=list, blank=True)
    # Whether funds pay for what the plan does not cover without the account having to switch that on.
    pays_from_funds = models.BooleanField(default=False)
    charge_flagged_images = models.BooleanField(default=True)
    # Share of the render workers against other plans, when they are busy.
    weight = models.PositiveSmallIntegerField(default=1)
    dedicated_workers = models.BooleanField(default=False)
    public = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["code", "effective_from"], name="plan_version_once")]
        indexes: ClassVar = [models.Index(fields=["code", "-effective_from"], name="plan_in_force")]

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"


class Price(models.Model):
    """The price of one image under a price code, from a moment on. History stays; nothing is edited in place."""

    price_code = models.CharField(max_length=40)
    account = models.ForeignKey(Account, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    amount_microusd = models.PositiveBigIntegerField()
    effective_from = models.DateTimeField()
    set_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["price_code", "account", "effective_from"], name="price_version_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["price_code", "-effective_from"], name="price_in_force")]

    def __str__(self) -> str:
        return f"{self.price_code}: {self.amount_microusd} from {self.effective_from:%Y-%m-%d}"


class Wallet(models.Model):
    """What an account may spend, and under which plan.

    `balance_microusd` is a cache of the sum of its ledger entries and `held_microusd` of its open holds on funds; both
    change only together with those rows, in one transaction. `overrides` replaces numbers of the plan for this account.
    """

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, related_name="wallet")
    plan_code = models.CharField(max_length=24, default="free")
    balance_microusd = models.BigIntegerField(default=0)
    held_microusd = models.BigIntegerField(default=0)
    # The account's own switch: go on from funds where the plan ends.
    continue_from_funds = models.BooleanField(default=False)
    overrides = models.JSONField(default=dict, blank=True)
    # Set while a dispute or a returned payment may have taken the balance below zero: admission stops.
    in_arrears = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(held_microusd__gte=0), name="wallet_held_not_negative"),
            models.CheckConstraint(
                condition=Q(balance_microusd__gte=F("held_microusd")) | Q(in_arrears=True),
                name="wallet_never_overspent",
            ),
        ]

    def __str__(self) -> str:
        return f"wallet of {self.account_id}"

    @property
    def available_microusd(self) -> int:
        return self.balance_microusd - self.held_microusd


class EntryKind(models.TextChoices):
    """Why money moved. Each kind has one counterpart account, so the books sum to zero by construction."""

    TOP_UP = "top_up"
    CAPTURE = "capture"
    GRANT = "grant"
    ADJUSTMENT = "adjustment"
    REFUND = "refund"
    REFUND_REVERSED = "refund_reversed"
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"


class LedgerQuerySet(models.QuerySet["LedgerEntry"]):
    def update(self, **kwargs: Any) -> Never:
        raise TypeError("Ledger entries never change: post a correction instead.")

    def delete(self) -> Never:
        raise TypeError("Ledger entries are never deleted: post a correction instead.")


class LedgerEntry(models.Model):
    """One movement between the account's wallet and the counterpart that its kind names (see docs/ledger.md).

    `amount_microusd` is signed as the wallet sees it. `op_key` is unique: whatever is posted twice is posted once.
    """

    id = models.BigAutoField(primary_key=True)
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="entries", db_index=False)
    kind = models.CharField(max_length=16, choices=EntryKind.choices)
    amount_microusd = models.BigIntegerField()
    op_key = models.CharField(max_length=80, unique=True)
    reference = models.BigIntegerField(null=True, blank=True)
    images = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    note = models.CharField(max_length=200, blank=True)
    made_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    sandbox = models.BooleanField(default=False)

    objects: ClassVar[models.Manager[LedgerEntry]] = LedgerQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["wallet", "id"], name="ledger_by_wallet")]

    def __str__(self) -> str:
        return f"{self.op_key}: {self.amount_microusd}"

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise TypeError("Ledger entries are never deleted: post a correction instead.")


class Source(models.TextChoices):
    """What pays for a call."""

    UNLIMITED = "unlimited"
    ALLOWANCE = "allowance"
    FREE_DAY = "free_day"
    FUNDS = "funds"


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


class UsageBucket(models.Model):
    """Roll-up of settled calls in one quarter of an hour (UTC), fed inside the settling transaction.

    Quarters, because every time zone's days are made of whole ones. Charts and pages read only this.
    """

    id = models.BigAutoField(primary_key=True)
    bucket = models.DateTimeField()
    account_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model_id = models.CharField(max_length=120)
    endpoint = models.CharField(max_length=60)
    plan_code = models.CharField(max_length=24)
    source = models.CharField(max_length=9)
    status = models.CharField(max_length=10)
    size = models.CharField(max_length=11)
    calls = models.PositiveIntegerField(default=0)
    images = models.PositiveIntegerField(default=0)
    amount_microusd = models.BigIntegerField(default=0)
    list_price_microusd = models.BigIntegerField(default=0)
    wait_ms = models.BigIntegerField(default=0)
    run_ms = models.BigIntegerField(default=0)
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
