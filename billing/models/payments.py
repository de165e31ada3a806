"""What the payment provider and we agree about: customers, top-ups, refunds, disputes, auto-recharge. Amounts: cents.

`mode` keeps three worlds apart: the stand-in's, Stripe's test mode and live. Rows of one never meet a key of another.
"""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.db import models
from django.db.models import Q

from accounts.models import Account, User


def public_id_new() -> str:
    """A name that tells nothing and cannot be guessed: of top-ups, attempts and refunds, and their idempotency keys."""
    return secrets.token_hex(12)


class Mode(models.TextChoices):
    SANDBOX = "sandbox"
    TEST = "test"
    LIVE = "live"


class StripeCustomer(models.Model):
    """The one customer of an account in one mode. `busy_until`: one worker at a time brings it up to date."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=7, choices=Mode.choices)
    # Names the idempotency key of the creation; None once the customer was deleted at Stripe.
    attempt = models.CharField(max_length=24, default=public_id_new)
    stripe_id = models.CharField(max_length=64, unique=True, null=True, blank=True)
    busy_until = models.DateTimeField(null=True, blank=True)
    # The account was closed: the customer is to be deleted at Stripe, from then on until it is.
    closing_since = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "mode"], name="stripe_customer_once"),
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id} of {self.account_id}"


class TopUpState(models.TextChoices):
    CREATED = "created"  # our row stands, the provider may not know of it
    OPEN = "open"  # somebody can pay it
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


class TopUp(models.Model):
    """Funds that somebody wants to add. What is credited is `amount_cents` of this row, whatever a message says."""

    CHECKOUT, RECHARGE = "checkout", "recharge"

    public_id = models.CharField(max_length=24, unique=True, default=public_id_new)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="top_ups")
    mode = models.CharField(max_length=7, choices=Mode.choices)
    origin = models.CharField(max_length=8, default=CHECKOUT)
    # The form that asked: sending it twice asks once.
    nonce = models.CharField(max_length=60, null=True, blank=True)
    amount_cents = models.PositiveIntegerField()
    currency = models.CharField(max_length=3, default="usd")
    state = models.CharField(max_length=7, choices=TopUpState.choices, default=TopUpState.CREATED)
    session_id = models.CharField(max_length=128, unique=True, null=True, blank=True)
    payment_intent_id = models.CharField(max_length=64, unique=True, null=True, blank=True)
    problem = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True, blank=True)
    made_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "nonce"], name="top_up_form_once"),
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(origin="recharge", state__in=["created", "open"]),
                name="top_up_one_recharge_at_a_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="top_up_open", condition=Q(state__in=["created", "open"])),
        ]

    def __str__(self) -> str:
        return f"top-up {self.public_id} {self.state}"

    @property
    def receipt_number(self) -> str:
        return f"R-{self.pk:06d}"


class RefundState(models.TextChoices):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Refund(models.Model):
    """Money given back for a top-up. The wallet is debited before the provider is asked, and credited if it fails."""

    public_id = models.CharField(max_length=24, unique=True, default=public_id_new)
    top_up = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="refunds")
    amount_cents = models.PositiveIntegerField()
    state = models.CharField(max_length=9, choices=RefundState.choices, default=RefundState.PENDING)
    stripe_id = models.CharField(max_length=64, unique=True, null=True, blank=True)
    reason = models.CharField(max_length=200, blank=True)
    made_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"refund {self.public_id} {self.state}"


class ProviderFee(models.Model):
    """What the payment provider kept of one movement of its balance: for the operator's margin, in no account's books.

    Copied from the provider's list, row by row; nothing else is decided by it.
    """

    transaction_id = models.CharField(max_length=64, primary_key=True)
    mode = models.CharField(max_length=7, choices=Mode.choices)
    # What moved: charge, refund, adjustment (a dispute), stripe_fee, ...
    kind = models.CharField(max_length=40)
    fee_cents = models.IntegerField()
    currency = models.CharField(max_length=3, default="usd")
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="provider_fee_by_time")]

    def __str__(self) -> str:
        return f"{self.transaction_id}: {self.fee_cents}"


class FeeCursor(models.Model):
    """Up to which moment the provider's fees are known."""

    mode = models.CharField(max_length=7, choices=Mode.choices, primary_key=True)
    read_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.mode} until {self.read_until:%Y-%m-%d %H:%M}"


class Dispute(models.Model):
    """A charge that its card's holder contests. `top_up` is None where the charge paid something else than funds."""

    stripe_id = models.CharField(max_length=64, unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    top_up = models.ForeignKey(TopUp, on_delete=models.PROTECT, null=True, blank=True, related_name="disputes")
    amount_cents = models.PositiveIntegerField()
    status = models.CharField(max_length=40)
    restored = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"dispute {self.stripe_id} {self.status}"


class AutoRecharge(models.Model):
    """The account's wish that a saved card adds funds by itself below a threshold."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True, related_name="auto_recharge")
    enabled = models.BooleanField(default=False)
    threshold_cents = models.PositiveIntegerField(default=500)
    amount_cents = models.PositiveIntegerField(default=2500)
    monthly_cap_cents = models.PositiveIntegerField(default=10_000)
    failures_in_row = models.PositiveSmallIntegerField(default=0)
    stopped_reason = models.CharField(max_length=200, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"auto-recharge of {self.account_id}"


class MoneyNotice(models.Model):
    """A mail about money that went out, or is about to: one fact tells once."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=120)
    sent_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["account", "key"], name="money_notice_once")]

    def __str__(self) -> str:
        return f"{self.key} to {self.account_id}"
