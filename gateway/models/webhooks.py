"""Webhooks on their way out: what to tell, each attempt to tell it, the receivers, and the secrets that sign.

A delivery is written in the transaction of what it tells of: the table is the outbox.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class DeliveryState(models.TextChoices):
    """Pending may be sent; paused waits for the owner, because its receiver has been failing for long."""

    PENDING = "pending", _("Pending")
    DELIVERED = "delivered", _("Delivered")
    FAILED = "failed", _("Failed")
    PAUSED = "paused", _("Paused")


class WebhookDelivery(models.Model):
    """One message. `message_id` is its webhook-id, the same in every attempt, so that a receiver can tell repeats.

    `body` is composed before the first attempt (that may read pictures, which no transaction should wait for) and then
    stays byte for byte. A pending row is due at `next_attempt_at`; whoever sends it first moves that time ahead, so a
    killed sender's row comes back by itself.
    """

    id = models.BigAutoField(primary_key=True)
    message_id = models.CharField(max_length=60, unique=True)
    account_id = models.BigIntegerField()
    generation_id = models.BigIntegerField(null=True)
    event = models.CharField(max_length=40)
    url = models.CharField(max_length=2000)
    origin = models.CharField(max_length=300)
    body = models.TextField(blank=True)
    state = models.CharField(max_length=9, choices=DeliveryState.choices, default=DeliveryState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["next_attempt_at"], name="webhook_due", condition=Q(state="pending")),
            models.Index(fields=["account_id", "id"], name="webhook_by_account"),
            models.Index(fields=["created_at"], name="webhook_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id} {self.state}"


class WebhookAttempt(models.Model):
    """One try: `status` is what the receiver answered, or None with the reason why it could not."""

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="tries")
    number = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=300, blank=True)
    excerpt = models.CharField(max_length=512, blank=True)

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.delivery_id}: {self.status or self.error}"


class WebhookReceiver(models.Model):
    """How one origin (scheme, host, port) has been answering one account. Paused: nothing is sent there."""

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    origin = models.CharField(max_length=300)
    failures_in_row = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account_id", "origin"], name="webhook_receiver_once"),
        ]

    def __str__(self) -> str:
        return self.origin


class AlertAddress(models.Model):
    """Where an account is told by webhook of its spending, which belongs to no call."""

    account_id = models.BigIntegerField(primary_key=True)
    url = models.CharField(max_length=2000)

    def __str__(self) -> str:
        return f"alerts of {self.account_id}"


class WebhookSecret(models.Model):
    """A signing secret, by its salt: the secret itself is derived and stored nowhere (see webhooks_out.signing).

    Every secret without an end, or with one to come, signs. The one without an end is the newest.
    """

    id = models.BigAutoField(primary_key=True)
    account_id = models.BigIntegerField()
    salt = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account_id"], condition=Q(expires_at__isnull=True), name="webhook_secret_newest"
            ),
        ]

    def __str__(self) -> str:
        return f"secret {self.pk} of {self.account_id}"
