"""Sending what is due. Any number of workers may do it at once: a row belongs to whoever moved its time ahead.

Threads wait for slow receivers, so a run ends at once and the worker's other duties go on; a few threads per receiver
at most, so that a hanging one does not keep the others waiting. No transaction and no database connection is open
while a receiver is being waited for.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from gateway.api.replies import webhook_body
from gateway.errors import AddressRefused, FetchFailed
from gateway.http import http_post
from gateway.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookReceiver
from gateway.notices import webhook_paused_tell
from gateway.webhooks_out.schedule import ATTEMPTS_MAX, GONE, is_taken, is_worth_pausing, next_attempt_at
from gateway.webhooks_out.signing import signed_headers, webhook_secrets
from inference.models import Generation

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
# Longer than any attempt takes: a sender that has not reported by then was killed.
LEASE = timedelta(seconds=TIMEOUT_S + 30)
THREADS = 16
PER_ORIGIN_MAX = 4
EXCERPT_CHARACTERS = 512
ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt brought. `final` failures are not tried again."""

    status: int | None = None
    error: str = ""
    excerpt: str = ""
    final: bool = False

    @property
    def delivered(self) -> bool:
        return is_taken(self.status)


Run = Callable[[Callable[[], None]], object]


class Sender:
    """Claims due rows up to its free threads and gives them out. `run` stands in for the threads in tests."""

    def __init__(self, run: Run | None = None) -> None:
        self._run = run or ThreadPoolExecutor(THREADS, thread_name_prefix="webhook").submit
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()

    def send_due(self, now: datetime, limit: int) -> int:
        """How many deliveries it took on."""
        taken = 0
        due = WebhookDelivery.objects.filter(state=DeliveryState.PENDING, next_attempt_at__lte=now)
        for delivery in due.exclude(origin__in=self._full()).defer("body").order_by("next_attempt_at")[:limit]:
            if not self._reserve(delivery.origin):
                continue
            if not webhook_claim(delivery, now):
                self._release(delivery.origin)
                continue
            taken += 1
            self._run(functools.partial(self._deliver, delivery))
        return taken

    def _full(self) -> list[str]:
        with self._lock:
            return [origin for origin, threads in self._busy.items() if threads >= PER_ORIGIN_MAX]

    def _reserve(self, origin: str) -> bool:
        with self._lock:
            if self._busy.total() >= THREADS or self._busy[origin] >= PER_ORIGIN_MAX:
                return False
            self._busy[origin] += 1
            return True

    def _release(self, origin: str) -> None:
        with self._lock:
            self._busy[origin] -= 1
            if not self._busy[origin]:
                del self._busy[origin]

    def _deliver(self, delivery: WebhookDelivery) -> None:
        try:
            delivery_attempt(delivery)
        except Exception:
            # The row's lease brings it back; a thread's exception would vanish unseen.
            log.exception("webhook %s could not be attempted", delivery.message_id)
        finally:
            self._release(delivery.origin)
            if not connection.in_atomic_block:
                connection.close()


def webhook_claim(delivery: WebhookDelivery, now: datetime) -> bool:
    """Take this attempt of the delivery; False when another sender has. Paused receivers' messages are put aside."""
    row = WebhookDelivery.objects.filter(
        pk=delivery.pk, state=DeliveryState.PENDING, next_attempt_at=delivery.next_attempt_at
    )
    if _is_paused(delivery):
        row.update(state=DeliveryState.PAUSED, next_attempt_at=None)
        return False
    if delivery.attempts >= ATTEMPTS_MAX:
        # Every attempt died before it could be recorded: whatever kills its senders must not do so for ever.
        row.update(state=DeliveryState.FAILED, next_attempt_at=None)
        return False
    delivery.attempts += 1
    return bool(row.update(next_attempt_at=now + LEASE, attempts=F("attempts") + 1))


def delivery_attempt(delivery: WebhookDelivery) -> Outcome:
    """One claimed attempt, whole: compose, sign, send, record."""
    now = timezone.now()
    if not delivery.body:
        generation = Generation.objects.get(pk=delivery.generation_id or 0)
        delivery.body = orjson.dumps(webhook_body(generation)).decode()
        WebhookDelivery.objects.filter(pk=delivery.pk).update(body=delivery.body)
    secrets = webhook_secrets(account_id=delivery.account_id, now=now)
    headers = signed_headers(secrets, message_id=delivery.message_id, body=delivery.body, now=now)
    if not connection.in_atomic_block:
        connection.close()
    started_s = time.perf_counter()
    outcome = _post(delivery, headers)
    duration_ms = int((time.perf_counter() - started_s) * 1000)
    _record(delivery, outcome, duration_ms=duration_ms, now=timezone.now())
    return outcome


def _post(delivery: WebhookDelivery, headers: dict[str, str]) -> Outcome:
    try:
        answer = http_post(
            delivery.url,
            content=delivery.body.encode(),
            headers={"Content-Type": "application/json", **headers},
            timeout_s=TIMEOUT_S,
            excerpt_bytes=EXCERPT_CHARACTERS,
        )
    except AddressRefused as refused:
        return Outcome(error=refused.fields["reason"][:ERROR_CHARACTERS], final=True)
    except FetchFailed as failed:
        return Outcome(error=failed.fields["reason"][:ERROR_CHARACTERS])
    # PostgreSQL keeps no zero bytes in a text.
    excerpt = answer.excerpt.decode(errors="replace").replace("\0", "")[:EXCERPT_CHARACTERS]
    return Outcome(status=answer.status, excerpt=excerpt, final=answer.status == GONE)


# --- what came of it -------------------------------------------------------------------------------------------


def _record(delivery: WebhookDelivery, outcome: Outcome, *, duration_ms: int, now: datetime) -> None:
    """Log the attempt and move the row. A late failure does not disturb a later attempt; a late success ends all."""
    with transaction.atomic():
        WebhookAttempt.objects.create(
            delivery_id=delivery.pk,
            number=delivery.attempts,
            at=now,
            duration_ms=duration_ms,
            status=outcome.status,
            error=outcome.error,
            excerpt=outcome.excerpt,
        )
        row = WebhookDelivery.objects.filter(pk=delivery.pk, state=DeliveryState.PENDING)
        if outcome.delivered:
            row.update(state=DeliveryState.DELIVERED, delivered_at=now, next_attempt_at=None)
        else:
            again = None if outcome.final else next_attempt_at(attempts=delivery.attempts, now=now)
            state = DeliveryState.FAILED if again is None else DeliveryState.PENDING
            row.filter(attempts=delivery.attempts).update(state=state, next_attempt_at=again)
        _record_receiver(delivery, delivered=outcome.delivered, now=now)


def _record_receiver(delivery: WebhookDelivery, *, delivered: bool, now: datetime) -> None:
    account_id, origin = delivery.account_id, delivery.origin
    receivers = WebhookReceiver.objects.filter(account_id=account_id, origin=origin)
    if delivered:
        receivers.exclude(failures_in_row=0).update(failures_in_row=0, failing_since=None, paused_at=None)
        return
    receiver, _ = receivers.get_or_create(account_id=account_id, origin=origin)
    receivers.update(failures_in_row=F("failures_in_row") + 1, failing_since=receiver.failing_since or now)
    receiver.refresh_from_db()
    worth = is_worth_pausing(failures_in_row=receiver.failures_in_row, failing_since=receiver.failing_since, now=now)
    if worth and receivers.filter(paused_at__isnull=True).update(paused_at=now):
        log.warning("webhooks of account %s to %s are paused: it has been failing for long", account_id, origin)
        waiting = WebhookDelivery.objects.filter(account_id=account_id, origin=origin, state=DeliveryState.PENDING)
        waiting.update(state=DeliveryState.PAUSED, next_attempt_at=None)
        webhook_paused_tell(account_id=account_id, origin=origin)


def _is_paused(delivery: WebhookDelivery) -> bool:
    return WebhookReceiver.objects.filter(
        account_id=delivery.account_id, origin=delivery.origin, paused_at__isnull=False
    ).exists()
