"""Outgoing webhooks: signed (Standard Webhooks), retried with back-off over hours, logged per attempt, sent again by
their owner. At least once: a receiver tells repeats by their webhook-id.
"""

from __future__ import annotations

import functools
from datetime import datetime

from gateway.models import DeliveryState, WebhookDelivery
from gateway.webhooks_out.sending import Sender
from gateway.webhooks_out.services import (
    delivery_of,
    generation_webhook_queue,
    webhook_receiver_resume,
    webhook_resend,
    webhook_test,
    webhooks_forget,
)
from gateway.webhooks_out.signing import secret_text, webhook_secret_rotate, webhook_secrets

__all__ = [
    "delivery_of",
    "generation_webhook_queue",
    "secret_text",
    "webhook_receiver_resume",
    "webhook_resend",
    "webhook_secret_rotate",
    "webhook_secrets",
    "webhook_send_due",
    "webhook_test",
    "webhooks_due",
    "webhooks_forget",
]


@functools.cache
def sender() -> Sender:
    """This process's threads; nobody has them before the first message."""
    return Sender()


def webhook_send_due(now: datetime, limit: int) -> int:
    """Take on at most `limit` due deliveries and return; this process's threads send them. How many it took on."""
    return sender().send_due(now, limit)


def webhooks_due(now: datetime) -> bool:
    """Whether anything waits to be sent: one look into an index that holds pending rows alone."""
    return WebhookDelivery.objects.filter(state=DeliveryState.PENDING, next_attempt_at__lte=now).exists()
