"""Subscriptions as Stripe last showed them, the attempts to subscribe, the prices there, the inbox of its events."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from accounts.models import Account
from billing.models.payments import Mode, public_id_new


class StripePrice(models.Model):
    """A monthly price at Stripe and the plan that it buys. Prices never change there: a new amount is a new row."""

    stripe_id = models.CharField(max_length=64, unique=True)
    product_id = models.CharField(max_length=64)
    mode = models.CharField(max_length=7, choices=Mode.choices)
    plan_code = models.CharField(max_length=24)
    amount_cents = models.PositiveIntegerField()
    # Whether new subscriptions take this one; the former ones stay known for those who have them.
    current = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["mode", "plan_code"], condition=Q(current=True), name="stripe_price_one_current"
            )
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id} for {self.plan_code}"


class AttemptState(models.TextChoices):
    CREATED = "created"
    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"


class SubscriptionAttempt(models.Model):
    """One visit to the provider's page to subscribe. An account has at most one that can still be paid."""

    public_id = models.CharField(max_length=24, unique=True, default=public_id_new)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=7, choices=Mode.choices)
    plan_code = models.CharField(max_length=24)
    state = models.CharField(max_length=8, choices=AttemptState.choices, default=AttemptState.CREATED)
    session_id = models.CharField(max_length=128, unique=True, null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "mode"],
                condition=Q(state__in=["created", "open"]),
                name="subscription_one_open_attempt",
            )
        ]

    def __str__(self) -> str:
        return f"attempt {self.public_id} {self.state}"


class Subscription(models.Model):
    """A subscription as Stripe showed it last. Every field is copied from there; none is decided here."""

    ENDED = ("canceled", "incomplete_expired")

    stripe_id = models.CharField(max_length=64, unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="subscriptions")
    mode = models.CharField(max_length=7, choices=Mode.choices)
    status = models.CharField(max_length=40)
    price_id = models.CharField(max_length=64)
    # Empty where the price is none of ours: it entitles to nothing.
    plan_code = models.CharField(max_length=24, blank=True)
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    past_due_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["account", "status"], name="subscription_by_account")]

    def __str__(self) -> str:
        return f"{self.stripe_id} {self.status}"


class EventState(models.TextChoices):
    NEW = "new"
    DONE = "done"
    IGNORED = "ignored"
    PARKED = "parked"


class StripeEvent(models.Model):
    """The inbox: one row per event, whatever number of times it was delivered. The body is kept as it came."""

    event_id = models.CharField(max_length=128, unique=True)
    mode = models.CharField(max_length=7, choices=Mode.choices)
    type = models.CharField(max_length=80)
    object_id = models.CharField(max_length=128, blank=True)
    body = models.TextField()
    created_at = models.DateTimeField()
    received_at = models.DateTimeField()
    state = models.CharField(max_length=7, choices=EventState.choices, default=EventState.NEW)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    problem = models.CharField(max_length=400, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["next_attempt_at"], name="stripe_event_waiting", condition=Q(state="new")),
            models.Index(fields=["id"], name="stripe_event_parked", condition=Q(state="parked")),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id} {self.state}"


class EventCursor(models.Model):
    """Up to which moment the event list was read."""

    mode = models.CharField(max_length=7, choices=Mode.choices, primary_key=True)
    read_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.mode} until {self.read_until:%Y-%m-%d %H:%M}"
