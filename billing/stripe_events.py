"""The inbox of Stripe's events: each is one row, processed later, in any order, as often as need be.

An event only says where to look: the object is fetched and its state decides. Effects are keyed by object, so two
events that tell the same fact do it once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from accounts.errors import DomainError
from billing import mails, stripe_client
from billing.customers import account_of_customer, customer_forget, mode_now, turn_of
from billing.disputes import dispute_refresh
from billing.errors import PaymentProviderUnavailable, PaymentsNotConfigured
from billing.models import EventState, StripeEvent, TopUp
from billing.refunds import refund_refresh
from billing.subscriptions import (
    attempt_follow,
    attempt_of_session,
    attempt_opened,
    invoice_refresh,
    moment,
    subscription_refresh,
)
from billing.topups import topup_apply_session, topup_failed_later, topup_of_session

ATTEMPTS_MAX = 6
WAITS = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1))
_ANEW: dict[str, Any] = {"state": EventState.NEW, "attempts": 0}
BUSY_WAIT = timedelta(seconds=2)
TYPES = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.finalization_failed",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "customer.deleted",
)

logger = logging.getLogger(__name__)


def event_receive(*, event: dict[str, Any], body: str, now: datetime) -> bool:
    """Put a verified event into the inbox; False when it is there already."""
    about = (event.get("data") or {}).get("object") or {}
    _, created = StripeEvent.objects.get_or_create(
        event_id=event["id"],
        defaults={
            "mode": mode_now(),
            "type": str(event.get("type", ""))[:80],
            "object_id": str(about.get("id") or "")[:128],
            "body": body,
            "created_at": moment(int(event.get("created") or 0)),
            "received_at": now,
            "next_attempt_at": now,
        },
    )
    return created


def events_waiting(now: datetime) -> bool:
    return StripeEvent.objects.filter(state=EventState.NEW, next_attempt_at__lte=now, mode=mode_now()).exists()


def events_process(*, now: datetime, limit: int = 100) -> int:
    """Everything that is due, oldest first; one that cannot be processed does not keep the others. How many ended."""
    due = StripeEvent.objects.filter(state=EventState.NEW, next_attempt_at__lte=now, mode=mode_now())
    ended = 0
    for event in due.order_by("created_at", "id")[:limit]:
        ended += event_process(event=event, now=timezone.now())
    return ended


def event_process(*, event: StripeEvent, now: datetime) -> bool:
    """One event; True when it came to its end. Faults that pass are tried again, others end parked, for a person."""
    about = json.loads(event.body)["data"]["object"]
    account_id = _account_of(about)
    try:
        if account_id is None:
            known = _handle(event, about, now)
        else:
            with turn_of(account_id) as mine:
                if not mine:
                    _later(event, now + BUSY_WAIT)
                    return False
                known = _handle(event, about, now)
    except (PaymentProviderUnavailable, PaymentsNotConfigured) as problem:
        _later(event, now + WAITS[min(event.attempts, len(WAITS) - 1)], problem)
        return False
    except DomainError as problem:
        return _park(event, problem)
    except Exception as problem:
        logger.exception("Stripe event %s could not be processed", event.event_id)
        if event.attempts + 1 >= ATTEMPTS_MAX:
            return _park(event, problem)
        _later(event, now + WAITS[min(event.attempts, len(WAITS) - 1)], problem)
        return False
    return _end(event, EventState.DONE if known else EventState.IGNORED, "")


def _account_of(about: dict[str, Any]) -> int | None:
    """Whose turn it is: by the customer, or by the top-up that a refund or a dispute is about."""
    customer_id = about["id"] if about.get("object") == "customer" else about.get("customer")
    if customer_id:
        return account_of_customer(customer_id)
    paid = TopUp.objects.filter(payment_intent_id=about.get("payment_intent") or "")
    return paid.values_list("account_id", flat=True).first()


def _handle(event: StripeEvent, about: dict[str, Any], now: datetime) -> bool:
    """Whether the event was about something of ours."""
    for prefix, handler in HANDLERS.items():
        if event.type.startswith(prefix):
            return handler(event.type, about, now)
    return False


def events_retry(*, ids: list[int], now: datetime) -> list[StripeEvent]:
    """Put parked events of this mode back into the inbox with all their attempts; those that this call moved."""
    parked = StripeEvent.objects.filter(state=EventState.PARKED, mode=mode_now())
    rows = list(parked.filter(pk__in=ids).order_by("pk").defer("body"))
    return [row for row in rows if parked.filter(pk=row.pk).update(**_ANEW, next_attempt_at=now)]


def _later(event: StripeEvent, moment: datetime, problem: Exception | None = None) -> None:
    """Waiting for one's turn is no attempt; a fault is."""
    waiting = StripeEvent.objects.filter(pk=event.pk, state=EventState.NEW)
    waiting.update(
        next_attempt_at=moment,
        attempts=event.attempts + (problem is not None),
        problem=f"{type(problem).__name__}: {problem}"[:400] if problem else event.problem,
    )


def _park(event: StripeEvent, problem: Exception) -> bool:
    logger.error("Stripe event %s (%s) is parked: %s", event.event_id, event.type, type(problem).__name__)
    return _end(event, EventState.PARKED, f"{type(problem).__name__}: {problem}"[:400])


def _end(event: StripeEvent, state: EventState, problem: str) -> bool:
    return bool(
        StripeEvent.objects.filter(pk=event.pk, state=EventState.NEW).update(
            state=state, problem=problem, attempts=event.attempts + 1
        )
    )


# --- what each kind of event looks at ------------------------------------------------------------------------------


def _session(kind: str, about: dict[str, Any], now: datetime) -> bool:
    session = stripe_client.session_retrieve(session_id=about["id"])
    top_up = topup_of_session(session)
    if top_up is not None:
        topup_apply_session(top_up=top_up, session=session, now=now)
        if kind.endswith("async_payment_failed"):
            topup_failed_later(top_up=top_up)
        return True
    attempt = attempt_of_session(session)
    if attempt is None or attempt.account_id != account_of_customer(session["customer"]):
        return False
    attempt_opened(attempt=attempt, session_id=session["id"])
    attempt_follow(attempt=attempt, session=session)
    if session["subscription"]:
        subscription_refresh(subscription_id=session["subscription"], now=now)
    return True


def _subscription(kind: str, about: dict[str, Any], now: datetime) -> bool:
    return subscription_refresh(subscription_id=about["id"], now=now) is not None


def _invoice(kind: str, about: dict[str, Any], now: datetime) -> bool:
    account_id, invoice = invoice_refresh(invoice_id=about["id"], now=now)
    if account_id is not None and kind != "invoice.paid" and invoice["status"] == "open":
        mails.payment_failed(account_id=account_id, invoice=invoice, now=now)
    return account_id is not None


def _refund(kind: str, about: dict[str, Any], now: datetime) -> bool:
    return refund_refresh(stripe_id=about["id"], now=now) is not None


def _dispute(kind: str, about: dict[str, Any], now: datetime) -> bool:
    return dispute_refresh(stripe_id=about["id"], now=now) is not None


def _charge(kind: str, about: dict[str, Any], now: datetime) -> bool:
    """charge.refunded tells what refund.created tells of each refund, with the one thing that books: the refund."""
    return account_of_customer(about.get("customer")) is not None


def _customer_gone(kind: str, about: dict[str, Any], now: datetime) -> bool:
    known = account_of_customer(about["id"]) is not None
    customer_forget(stripe_id=about["id"])
    return known


HANDLERS: dict[str, Callable[[str, dict[str, Any], datetime], bool]] = {
    "checkout.session.": _session,
    "customer.subscription.": _subscription,
    "invoice.": _invoice,
    "refund.": _refund,
    "charge.dispute.": _dispute,
    "charge.refunded": _charge,
    "customer.deleted": _customer_gone,
}
