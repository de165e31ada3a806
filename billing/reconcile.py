"""The reconciler: what a lost message would have told. It compares what is open here with Stripe, every few minutes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from accounts.errors import DomainError
from billing import stripe_client
from billing.customers import mode_now, turn_of
from billing.disputes import FINAL, dispute_refresh
from billing.errors import PaymentProviderUnavailable, PaymentsNotConfigured, SubscriptionExists
from billing.fees import fees_read
from billing.models import (
    AttemptState,
    Dispute,
    EventCursor,
    Refund,
    RefundState,
    StripeCustomer,
    Subscription,
    SubscriptionAttempt,
    TopUp,
    TopUpState,
)
from billing.refunds import refund_refresh, refund_send
from billing.stripe_events import TYPES, event_receive
from billing.subscriptions import (
    SESSION_LIFE,
    attempt_close,
    entitlement_review,
    subscription_copy,
    subscription_refresh,
)
from billing.topups import topup_refresh

OVERLAP = timedelta(hours=1)
FIRST_LOOK = timedelta(days=2)
# Read window by window, so that an outage within a long list loses none of what was read before.
WINDOW = timedelta(days=1)
# What was made a moment ago is about to learn its outcome by itself.
SETTLING = timedelta(minutes=2)
PER_RUN = 200
# A refund is asked for with the same key only while Stripe keeps keys.
SAME_QUESTION = timedelta(hours=23)

logger = logging.getLogger(__name__)
Row = TypeVar("Row")


def reconcile(*, now: datetime) -> None:
    """Everything open, in turn of its account; one fault does not keep the others. An outage ends the run."""
    try:
        events_catch_up(now=now)
        _each(_open_topups(now), lambda row: topup_refresh(top_up=row, now=now), _account)
        _each(_open_attempts(now), lambda row: _attempt(row, now), _account)
        _each(_running_subscriptions(), lambda row: _subscription(row, now), _account)
        _each(_open_refunds(now), lambda row: _refund(row, now), lambda row: row.top_up.account_id)
        _each(_open_disputes(), lambda row: dispute_refresh(stripe_id=row.stripe_id, now=now), _account)
        _fees(now)
    except PaymentProviderUnavailable:
        logger.warning("The payment provider is away: reconciling goes on later")


def _fees(now: datetime) -> None:
    """A key that may not read the balance leaves fees unknown, and everything else as it is."""
    try:
        fees_read(now=now)
    except PaymentsNotConfigured as problem:
        logger.warning("The provider's fees stay unknown: %s", problem)


def _account(row: Any) -> int:
    return int(row.account_id)


def _each(rows: Iterable[Row], follow: Callable[[Row], object], account_of: Callable[[Row], int]) -> None:
    for row in rows:
        try:
            with turn_of(account_of(row)) as mine:
                if mine:
                    follow(row)
        except PaymentProviderUnavailable:
            raise
        except DomainError as problem:
            logger.error("%s could not be reconciled: %s", row, problem)


def events_catch_up(*, now: datetime) -> int:
    """Events that never arrived, into the inbox: since the cursor less an hour, as lists lag. How many were new.

    The cursor moves with each window, oldest first."""
    cursor = EventCursor.objects.filter(pk=mode_now()).first()
    since = (cursor.read_until if cursor else now - FIRST_LOOK) - OVERLAP
    new = 0
    while since <= now:
        until = since + WINDOW
        # The last window has no end: the provider's clock may be ahead of ours.
        before_s = int(until.timestamp()) if until <= now else None
        listed = stripe_client.events_list(
            types=TYPES, created_from_s=int(since.timestamp()), created_before_s=before_s
        )
        new += sum(event_receive(event=event, body=json.dumps(event), now=now) for event in listed)
        EventCursor.objects.update_or_create(mode=mode_now(), defaults={"read_until": min(until, now)})
        since = until
    return new


def _open_topups(now: datetime) -> Iterable[TopUp]:
    rows = TopUp.objects.filter(state__in=[TopUpState.CREATED, TopUpState.OPEN], mode=mode_now(), origin=TopUp.CHECKOUT)
    return rows.filter(created_at__lt=now - SETTLING).select_related("account").order_by("created_at")[:PER_RUN]


def _open_attempts(now: datetime) -> Iterable[SubscriptionAttempt]:
    rows = SubscriptionAttempt.objects.filter(state__in=[AttemptState.CREATED, AttemptState.OPEN], mode=mode_now())
    return rows.filter(created_at__lt=now - SETTLING).select_related("account").order_by("created_at")[:PER_RUN]


def _attempt(attempt: SubscriptionAttempt, now: datetime) -> None:
    """An attempt that is complete shows as a subscription; one beyond its life is closed."""
    customer_id = StripeCustomer.objects.values_list("stripe_id", flat=True).get(
        account_id=attempt.account_id, mode=attempt.mode
    )
    if customer_id:
        for subscription in stripe_client.subscriptions_list(customer_id=customer_id):
            subscription_copy(subscription=subscription, now=now)
    if attempt.session_id is not None:
        session = stripe_client.session_retrieve(session_id=attempt.session_id)
        if session["status"] == "open" and now < attempt.created_at + SESSION_LIFE:
            return
    try:
        attempt_close(attempt=attempt)
    except SubscriptionExists:
        logger.info("attempt %s was completed", attempt.public_id)


def _running_subscriptions() -> Iterable[Subscription]:
    rows = Subscription.objects.filter(mode=mode_now()).exclude(status__in=Subscription.ENDED)
    return rows.order_by("id").iterator(chunk_size=PER_RUN)


def _subscription(subscription: Subscription, now: datetime) -> None:
    subscription_refresh(subscription_id=subscription.stripe_id, now=now)
    entitlement_review(account_id=subscription.account_id, now=now)


def _open_refunds(now: datetime) -> Iterable[Refund]:
    rows = Refund.objects.filter(state=RefundState.PENDING, top_up__mode=mode_now(), created_at__lt=now - SETTLING)
    return rows.select_related("top_up").order_by("created_at")[:PER_RUN]


def _refund(refund: Refund, now: datetime) -> None:
    if refund.stripe_id:
        refund_refresh(stripe_id=refund.stripe_id, now=now)
    elif now < refund.created_at + SAME_QUESTION:
        refund_send(refund=refund, now=now)
    else:
        logger.error("refund %s was never answered: look for it at the payment provider", refund.public_id)


def _open_disputes() -> Iterable[Dispute]:
    rows = Dispute.objects.exclude(status__in=FINAL).exclude(top_up=None).filter(top_up__mode=mode_now())
    return rows.order_by("id")[:PER_RUN]
