"""Wallets and the ledger. Amounts are integers of micro-dollars.

Rows of LedgerEntry are written by billing.ledger alone and never change: the queryset refuses, and so does a trigger in
the database. Generations are known only as `reference`, an opaque integer.
"""

from __future__ import annotations

from typing import Any, ClassVar, Never

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, User


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
    # What may be owed for one month by an account that is invoiced afterwards; None pays in advance. With it the
    # balance may fall below zero: that is what is owed.
    postpaid_limit_microusd = models.BigIntegerField(null=True, blank=True)
    # Set while a dispute or a returned payment may have taken the balance below zero: admission stops.
    in_arrears = models.BooleanField(default=False)
    # Whether `plan_code` follows from a subscription, and so ends with it.
    subscribed = models.BooleanField(default=False)
    # Spending from funds in one calendar month, UTC: a mail at the first, no further call at the second.
    spend_warn_microusd = models.BigIntegerField(null=True, blank=True)
    spend_limit_microusd = models.BigIntegerField(null=True, blank=True)
    # Below this a mail tells so; None says nothing.
    low_balance_microusd = models.BigIntegerField(null=True, blank=True, default=1_000_000)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(held_microusd__gte=0), name="wallet_held_not_negative"),
            models.CheckConstraint(
                condition=Q(balance_microusd__gte=F("held_microusd"))
                | Q(in_arrears=True)
                | Q(postpaid_limit_microusd__isnull=False),
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

    TOP_UP = "top_up", _("Top-up")
    CAPTURE = "capture", _("Charge")
    GRANT = "grant", _("Grant")
    ADJUSTMENT = "adjustment", _("Adjustment")
    REFUND = "refund", _("Refund")
    REFUND_REVERSED = "refund_reversed", _("Refund reversed")
    DISPUTE = "dispute", _("Dispute")
    DISPUTE_WON = "dispute_won", _("Dispute won")
    INVOICE = "invoice", _("Invoice paid")


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

    @property
    def top_up_id(self) -> str:
        """The public id of the top-up that this entry credits; empty for every other entry."""
        return self.op_key.removeprefix("topup:") if self.kind == EntryKind.TOP_UP else ""

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise TypeError("Ledger entries are never deleted: post a correction instead.")
