"""Plans and prices as dated facts: a new version for every change, none edited. Amounts are micro-dollars."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

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
