"""What may be done with deliveries: queue, send again, test, resume, forget. Rows alone; no network here."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta

from django.db import transaction

from gateway.errors import WebhookNotFound
from gateway.http import url_checked
from gateway.models import DeliveryState, WebhookDelivery, WebhookReceiver
from inference.models import Generation, GenerationState

KEPT_FOR = timedelta(days=30)
FORGOTTEN_PER_RUN = 2_000
TEST_EVENT = "test"

EVENTS = {
    GenerationState.SUCCEEDED: "generation.succeeded",
    GenerationState.FAILED: "generation.failed",
    GenerationState.CANCELLED: "generation.cancelled",
}


def generation_webhook_queue(*, generation: Generation, now: datetime) -> None:
    """In the settling transaction: the row is the outbox. Nothing for a generation without a webhook address.

    Queueing twice writes once: the message id is the generation's.
    """
    if not generation.webhook_url:
        return
    delivery = WebhookDelivery(
        message_id=f"msg_{generation.pk}",
        account_id=generation.account_id,
        generation_id=generation.pk,
        event=EVENTS[GenerationState(generation.state)],
        url=generation.webhook_url,
        origin=origin_of(generation.webhook_url),
        next_attempt_at=now,
        created_at=now,
    )
    WebhookDelivery.objects.bulk_create([delivery], ignore_conflicts=True)


def webhook_test(*, account_id: int, url: str, now: datetime) -> WebhookDelivery:
    """Queue a message that means nothing, to try a receiver. Raises AddressRefused for an address never sent to."""
    url_checked(url, plain_http=False)
    return WebhookDelivery.objects.create(
        message_id=f"msg_test_{secrets.token_hex(12)}",
        account_id=account_id,
        event=TEST_EVENT,
        url=url,
        origin=origin_of(url),
        body=json.dumps({"status": "test", "message": "This is a test of your webhook receiver."}),
        next_attempt_at=now,
        created_at=now,
    )


def webhook_resend(*, account_id: int, delivery_id: int, now: datetime) -> WebhookDelivery:
    """Send a message again, from the start of its schedule and under the same webhook-id.

    The owner knows that the receiver works again, so its pause ends too. Raises WebhookNotFound.
    """
    delivery = delivery_of(account_id=account_id, delivery_id=delivery_id)
    with transaction.atomic():
        webhook_receiver_resume(account_id=account_id, origin=delivery.origin, now=now)
        delivery.state, delivery.attempts, delivery.next_attempt_at = DeliveryState.PENDING, 0, now
        delivery.delivered_at = None
        delivery.save(update_fields=["state", "attempts", "next_attempt_at", "delivered_at"])
    return delivery


def webhook_receiver_resume(*, account_id: int, origin: str, now: datetime) -> int:
    """End a receiver's pause; how many paused messages are due again."""
    with transaction.atomic():
        WebhookReceiver.objects.filter(account_id=account_id, origin=origin).update(
            failures_in_row=0, failing_since=None, paused_at=None
        )
        paused = WebhookDelivery.objects.filter(account_id=account_id, origin=origin, state=DeliveryState.PAUSED)
        return paused.update(state=DeliveryState.PENDING, next_attempt_at=now)


def webhooks_forget(now: datetime, limit: int = FORGOTTEN_PER_RUN) -> int:
    """Delete the oldest settled deliveries with their attempts after their time; at most `limit`."""
    old = WebhookDelivery.objects.filter(created_at__lt=now - KEPT_FOR).exclude(state=DeliveryState.PENDING)
    ids = list(old.order_by("created_at").values_list("pk", flat=True)[:limit])
    WebhookDelivery.objects.filter(pk__in=ids).delete()
    return len(ids)


def delivery_of(*, account_id: int, delivery_id: int) -> WebhookDelivery:
    """The account's delivery; a stranger's is answered like an unknown one."""
    delivery = WebhookDelivery.objects.filter(pk=delivery_id, account_id=account_id).first()
    if delivery is None:
        raise WebhookNotFound(delivery_id=delivery_id)
    return delivery


def origin_of(url: str) -> str:
    """Scheme, host and port: what fails together."""
    return "/".join(url.split("/", 3)[:3]).lower()[:300]
