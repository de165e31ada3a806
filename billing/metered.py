"""The subscription at Stripe that bills what its meter counts: one for each post-paid account, from the plan on.

It decides nothing about a call, and the plan does not wait for it: usage of before it began, or of a month whose
invoice is made, is reported as used at the first moment that a coming invoice covers. So nothing is left out.
"""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import QuerySet

from accounts.errors import DomainError
from accounts.models import Account
from billing import stripe_client
from billing.customers import customer_ensure, mode_now
from billing.entitlements import month_end, month_of
from billing.errors import PaymentProviderUnavailable
from billing.models import StripeCustomer, Subscription, Wallet
from billing.postpaid import METERED
from billing.prices import metered_price
from billing.subscriptions import subscription_copy

DAYS_UNTIL_DUE = 14

logger = logging.getLogger(__name__)


def _running(now: datetime) -> QuerySet[Subscription]:
    """Metered subscriptions that bill what is used now; those that end with the month too."""
    mine = Subscription.objects.filter(mode=mode_now(), plan_code=METERED).exclude(status__in=Subscription.ENDED)
    return mine.exclude(ends_at__lte=now)


def _lacking(now: datetime) -> QuerySet[Wallet]:
    """Post-paid accounts without a subscription that goes on."""
    billed = _running(now).filter(ends_at=None).values("account_id")
    return Wallet.objects.filter(postpaid_limit_microusd__isnull=False).exclude(pk__in=billed)


def _needless(now: datetime) -> QuerySet[Subscription]:
    """Subscriptions that go on though their account is post-paid no longer."""
    return _running(now).filter(ends_at=None, account__wallet__postpaid_limit_microusd=None)


def metered_waiting(now: datetime) -> bool:
    """Whether a plan was given or ended that Stripe does not know of yet."""
    return _lacking(now).exists() or _needless(now).exists()


def metered_keep(*, now: datetime) -> None:
    """Every post-paid account gets its subscription, and one who is that no longer gets one more invoice, at the
    month's end. The rows are the queue: what an outage or a fault keeps from happening is due again at the next run."""
    for account_id in _lacking(now).order_by("pk").values_list("pk", flat=True):
        try:
            metered_subscribe(account_id=account_id, now=now)
        except PaymentProviderUnavailable:
            logger.warning("The payment provider is away: metered subscriptions begin later")
            return
        except DomainError as problem:
            logger.error("account %s has no metered subscription: %s", account_id, problem)
    for subscription in _needless(now):
        try:
            _ends_set(subscription, True, now)
        except PaymentProviderUnavailable:
            logger.warning("The payment provider is away: metered subscriptions end later")
            return
        except DomainError as problem:
            logger.error("subscription %s cannot be ended: %s", subscription.stripe_id, problem)


def _ends_set(subscription: Subscription, ends: bool, now: datetime) -> None:
    found = stripe_client.subscription_ends_set(subscription_id=subscription.stripe_id, ends=ends)
    subscription_copy(subscription=found, now=now)


def metered_subscribe(*, account_id: int, now: datetime) -> tuple[str, datetime]:
    """The account's customer, and since when its next invoice counts. The subscription is found, begun where there is
    none, or, when the plan was given again before its end, continued: a second one would bill the same use twice."""
    customer_id = customer_ensure(account=Account.objects.get(pk=account_id), now=now)
    mine = _running(now).filter(account_id=account_id)
    if not mine.exists():
        for found in stripe_client.subscriptions_list(customer_id=customer_id):
            subscription_copy(subscription=found, now=now)
    running = mine.order_by("created_at").first() or _begin(account_id, customer_id, now)
    if running.ends_at is not None and _lacking(now).filter(pk=account_id).exists():
        _ends_set(running, False, now)
    return customer_id, max(running.created_at, month_of(now))


def _begin(account_id: int, customer_id: str, now: datetime) -> Subscription:
    """Bills use from now on, month by month from the next month's beginning on."""
    earlier = Subscription.objects.filter(account_id=account_id, mode=mode_now(), plan_code=METERED).count()
    attempt = StripeCustomer.objects.values_list("attempt", flat=True).get(stripe_id=customer_id)
    made = stripe_client.subscription_create_metered(
        customer_id=customer_id,
        price_id=metered_price(now).stripe_id,
        account_id=str(account_id),
        anchor_s=int(month_end(now).timestamp()),
        days_until_due=DAYS_UNTIL_DUE,
        idempotency_key=f"metered-{attempt}-{earlier}",
    )
    copy = subscription_copy(subscription=made, now=now)
    assert copy is not None, "its customer is this account's"
    return copy
