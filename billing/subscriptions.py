"""Plans by subscription: the page that sells them, our copy of what Stripe says, and what an account is entitled to.

A subscription is always fetched; the entitlement is derived from the copies, never from the order of messages.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import Account
from billing import stripe_client
from billing.arrears import wallet_lock
from billing.customers import account_of_customer, customer_ensure, mode_now
from billing.entitlements import plan_in_force
from billing.errors import PaymentProviderRefused, PaymentProviderUnavailable, SubscriptionExists
from billing.models import (
    Allowance,
    AttemptState,
    LedgerEntry,
    Plan,
    StripePrice,
    Subscription,
    SubscriptionAttempt,
    Wallet,
)
from billing.money import microusd_from_cents
from billing.postpaid import METERED, postpaid_end
from billing.prices import plan_of_price, portal_configuration, price_for_sale
from billing.revenue import plan_paid
from billing.services import invoice_settle

SESSION_LIFE = timedelta(hours=23)
ENTITLED = ("active", "trialing")
KNOWN = (*ENTITLED, "past_due", "incomplete", "incomplete_expired", "canceled", "unpaid", "paused")
# Renewal invoices are finalised about an hour after the period's end; the old calls last until the new ones come.
RENEWAL_MARGIN = timedelta(hours=2)
UNPAID = (AttemptState.CREATED, AttemptState.OPEN)

logger = logging.getLogger(__name__)


# --- the page that sells -----------------------------------------------------------------------------------------


def subscribe_page(*, account: Account, plan_code: str, success_url: str, cancel_url: str, now: datetime) -> str:
    """The address where the account subscribes. Raises SubscriptionExists when it has a plan that is being paid."""
    price = price_for_sale(plan_code, now=now)
    customer_id = customer_ensure(account=account, now=now)
    _require_none_running(account, customer_id, now)
    attempt = _attempt_for(account, plan_code, now)
    session = _attempt_session(attempt, customer_id, price.stripe_id, success_url, cancel_url)
    attempt_opened(attempt=attempt, session_id=session["id"])
    return str(session["url"] or success_url)


def _require_none_running(account: Account, customer_id: str, now: datetime) -> None:
    """Stripe is asked as well, since a subscription may exist that no message has told of yet."""
    for subscription in stripe_client.subscriptions_list(customer_id=customer_id):
        if subscription["status"] not in Subscription.ENDED and subscription["status"] != "incomplete":
            copy = subscription_copy(subscription=subscription, now=now)
            if copy is None or copy.plan_code != METERED:  # what is invoiced afterwards may stand beside a plan
                raise SubscriptionExists(plan=copy.plan_code if copy else "unknown")


def _attempt_for(account: Account, plan_code: str, now: datetime) -> SubscriptionAttempt:
    """The open attempt for this plan, else a new one; one for another plan is closed first."""
    mine = SubscriptionAttempt.objects.filter(account=account, mode=mode_now(), state__in=UNPAID)
    for attempt in mine:
        fresh = attempt.created_at > now - SESSION_LIFE + timedelta(minutes=40)
        if attempt.plan_code == plan_code and fresh:
            return attempt
        attempt_close(attempt=attempt)
    try:
        with transaction.atomic():
            return SubscriptionAttempt.objects.create(
                account=account, mode=mode_now(), plan_code=plan_code, created_at=now
            )
    except IntegrityError:
        # Another tab was faster by a moment: what it opened must be looked at before a second one may exist.
        raise SubscriptionExists(plan=mine.values_list("plan_code", flat=True).first() or plan_code) from None


def attempt_close(*, attempt: SubscriptionAttempt) -> None:
    """Nobody can pay this attempt any more. Raises SubscriptionExists when somebody just has."""
    session = _attempt_find(attempt)
    if session is not None and session["status"] == "open":
        try:
            session = stripe_client.session_expire(session_id=session["id"])
        except PaymentProviderRefused:
            session = stripe_client.session_retrieve(session_id=session["id"])
    attempt_follow(attempt=attempt, session=session)
    if session is not None and session["status"] == "complete":
        raise SubscriptionExists(plan=attempt.plan_code)


def _attempt_find(attempt: SubscriptionAttempt) -> dict[str, Any] | None:
    if attempt.session_id:
        return stripe_client.session_retrieve(session_id=attempt.session_id)
    return stripe_client.session_find(
        customer_id=customer_ensure(account=attempt.account, now=attempt.created_at),
        client_reference_id=attempt.public_id,
        created_from_s=int(attempt.created_at.timestamp()) - 3600,
    )


def _attempt_session(
    attempt: SubscriptionAttempt, customer_id: str, price_id: str, success_url: str, cancel_url: str
) -> dict[str, Any]:
    if attempt.session_id:
        return stripe_client.session_retrieve(session_id=attempt.session_id)
    try:
        return stripe_client.checkout_subscription_create(
            attempt_id=attempt.public_id,
            account_id=str(attempt.account_id),
            customer_id=customer_id,
            price_id=price_id,
            success_url=success_url,
            cancel_url=cancel_url,
            expires_at_s=int((attempt.created_at + SESSION_LIFE).timestamp()),
            promotion_codes=settings.STRIPE_PROMOTION_CODES,
            automatic_tax=settings.STRIPE_AUTOMATIC_TAX,
        )
    except PaymentProviderUnavailable:
        # A stored fault is repeated for the same key, though the session may exist.
        if (found := _attempt_find(attempt)) is None:
            raise
        return found


def attempt_opened(*, attempt: SubscriptionAttempt, session_id: str) -> None:
    mine = SubscriptionAttempt.objects.filter(pk=attempt.pk)
    mine.filter(session_id=None).update(session_id=session_id)
    mine.filter(state=AttemptState.CREATED).update(state=AttemptState.OPEN)


def attempt_follow(*, attempt: SubscriptionAttempt, session: dict[str, Any] | None) -> None:
    """Our row as the session stands; without a session nobody can ever pay it."""
    ends = {"complete": AttemptState.COMPLETE, "expired": AttemptState.EXPIRED}
    state = AttemptState.EXPIRED if session is None else ends.get(session["status"], AttemptState.OPEN)
    SubscriptionAttempt.objects.filter(pk=attempt.pk, state__in=UNPAID).update(state=state)


def attempt_of_session(session: dict[str, Any]) -> SubscriptionAttempt | None:
    by_id = SubscriptionAttempt.objects.filter(session_id=session["id"])
    reference = SubscriptionAttempt.objects.filter(public_id=session.get("client_reference_id") or "", session_id=None)
    return (by_id | reference).select_related("account").first()


def portal_page(*, account: Account, return_url: str, now: datetime) -> str:
    """The provider's pages for cards, invoices, changing and cancelling. The address lives for minutes: never kept."""
    session = stripe_client.portal_session_create(
        customer_id=customer_ensure(account=account, now=now),
        configuration_id=portal_configuration(),
        return_url=return_url,
    )
    return str(session["url"])


# --- what Stripe says --------------------------------------------------------------------------------------------


def subscription_refresh(*, subscription_id: str, now: datetime) -> Subscription | None:
    """Fetch one subscription and follow it. None when it belongs to no account of ours."""
    return subscription_copy(subscription=stripe_client.subscription_retrieve(subscription_id=subscription_id), now=now)


@transaction.atomic
def subscription_copy(*, subscription: dict[str, Any], now: datetime) -> Subscription | None:
    """Our copy of a subscription fetched just now, and the plan that follows from all of the account's."""
    account_id = account_of_customer(subscription["customer"])
    if account_id is None:
        return None
    wallet = wallet_lock(account_id)
    item = subscription["items"]["data"][0]
    status = str(subscription["status"])
    former = Subscription.objects.filter(stripe_id=subscription["id"]).first()
    since = (former.past_due_since if former else None) or now
    copy, _ = Subscription.objects.update_or_create(
        stripe_id=subscription["id"],
        defaults={
            "account_id": account_id,
            "mode": mode_now(),
            "status": status,
            "price_id": item["price"]["id"],
            "plan_code": plan_of_price(item["price"]),
            "period_start": moment(item["current_period_start"]),
            "period_end": moment(item["current_period_end"]),
            "ends_at": _end_of(subscription, item),
            "past_due_since": since if status == "past_due" else None,
            "created_at": moment(subscription["created"]),
        },
    )
    if status not in KNOWN or not copy.plan_code:
        logger.error("subscription %s has status %r and price %s", copy.stripe_id, status, copy.price_id)
    _entitle(wallet, now)
    ended_before = former is None or former.status in Subscription.ENDED
    if copy.plan_code == METERED and not (ended_before and status in Subscription.ENDED):
        _metered_follow(copy, now)
    return copy


def _metered_follow(copy: Subscription, now: datetime) -> None:
    """A metered subscription bills what the operator allowed; one that ended, or is not paid, ends post-paid use."""
    entitling = subscriptions_entitling(copy.account_id, now)
    if copy.status == "incomplete" or any(one.plan_code == METERED for one in entitling):
        return
    postpaid_end(account_id=copy.account_id)
    mine = Wallet.objects.filter(pk=copy.account_id, plan_code=METERED)
    mine.update(plan_code=_plan_without(copy.account_id))


def _end_of(subscription: dict[str, Any], item: dict[str, Any]) -> datetime | None:
    if subscription.get("ended_at"):
        return moment(subscription["ended_at"])
    if subscription.get("cancel_at"):
        return moment(subscription["cancel_at"])
    return moment(item["current_period_end"]) if subscription.get("cancel_at_period_end") else None


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


# --- what follows from it ----------------------------------------------------------------------------------------


@transaction.atomic
def entitlement_review(*, account_id: int, now: datetime) -> None:
    """Derive the plan again, as when a grace ran out without any message."""
    _entitle(wallet_lock(account_id), now)


def _entitle(wallet: Wallet, now: datetime) -> None:
    """The plan of the dearest subscription that entitles; without one, what the account had before it subscribed."""
    entitling = subscriptions_entitling(wallet.account_id, now)
    plans = [one.plan_code for one in entitling if one.plan_code != METERED]  # that one is the operator's to give
    if len(plans) > 1:
        logger.error("account %s pays %s subscriptions at once", wallet.account_id, len(plans))
    if plans:
        best = max(plans, key=lambda code: plan_in_force(code, now).monthly_price_cents)
        Wallet.objects.filter(pk=wallet.pk).update(plan_code=best, subscribed=True)
    elif wallet.subscribed:
        former = METERED if wallet.postpaid_limit_microusd is not None else _plan_without(wallet.pk)
        Wallet.objects.filter(pk=wallet.pk).update(plan_code=former, subscribed=False)


def subscriptions_entitling(account_id: int, now: datetime) -> list[Subscription]:
    """Active and trialing ones, and those past due within the grace. Every other status entitles to nothing."""
    grace = now - timedelta(days=settings.PAST_DUE_GRACE_DAYS)
    good = Q(status__in=ENTITLED) | Q(status="past_due", past_due_since__gt=grace)
    return list(Subscription.objects.filter(good, account_id=account_id, mode=mode_now()).exclude(plan_code=""))


def subscription_shown(account_id: int) -> Subscription | None:
    """The account's plan at the provider, in whatever state: not what is invoiced afterwards, nor what never began."""
    mine = Subscription.objects.filter(account_id=account_id).exclude(status__in=Subscription.ENDED)
    return mine.exclude(status="incomplete").exclude(plan_code=METERED).order_by("-created_at").first()


def _plan_without(account_id: int) -> str:
    """Pay as you go for whoever has ever added funds, else free."""
    funded = LedgerEntry.objects.filter(wallet_id=account_id, amount_microusd__gt=0).exists()
    return "payg" if funded else "free"


# --- paid invoices -----------------------------------------------------------------------------------------------


def invoice_refresh(*, invoice_id: str, now: datetime) -> tuple[int | None, dict[str, Any]]:
    """Fetch an invoice, follow its subscription, and grant the period's calls when it is paid: once per invoice."""
    invoice = stripe_client.invoice_retrieve(invoice_id=invoice_id)
    account_id = account_of_customer(invoice["customer"])
    subscription_id = _subscription_of(invoice)
    if account_id is None or subscription_id is None:
        return account_id, invoice
    subscription_refresh(subscription_id=subscription_id, now=now)
    if invoice["status"] == "paid":
        with transaction.atomic():
            wallet_lock(account_id)
            _allowance_grant(account_id, invoice, now)
            _metered_settle(account_id, invoice, now)
            _plan_note(account_id, invoice, now)
    return account_id, invoice


def _metered_settle(account_id: int, invoice: dict[str, Any], now: datetime) -> None:
    """The lines of post-paid use, without tax: what they come to is owed no longer."""
    amounts_cents = [line["amount"] for line in invoice["lines"]["data"] if _plan_of_line(line) == METERED]
    if sum(amounts_cents) > 0:
        invoice_settle(
            account_id=account_id,
            amount_microusd=microusd_from_cents(sum(amounts_cents)),
            op_key=str(invoice["id"]),
            now=now,
            reason=f"Invoice {invoice['number'] or invoice['id']}",
            by=None,
        )


def _plan_note(account_id: int, invoice: dict[str, Any], now: datetime) -> None:
    """What was paid for plans, for the operator's revenue: nothing else is decided by it."""
    lines = [(line, plan) for line in invoice["lines"]["data"] if (plan := _plan_of_line(line)) not in (None, METERED)]
    paid_cents = sum(line["amount"] - _discount_cents(line) for line, _ in lines)
    if paid_cents > 0:
        plan_paid(
            invoice_id=str(invoice["id"]),
            account_id=account_id,
            mode=mode_now(),
            # Of an invoice that changes the plan, the last line is the new one.
            plan_code=str(lines[-1][1]),
            amount_cents=paid_cents,
            paid_at=moment(invoice["status_transitions"]["paid_at"] or invoice["created"]),
            now=now,
        )


def _discount_cents(line: dict[str, Any]) -> int:
    return sum(discount["amount"] for discount in line.get("discount_amounts") or [])


def _plan_of_line(line: dict[str, Any]) -> str | None:
    details = (line.get("pricing") or {}).get("price_details") or {}
    return StripePrice.objects.filter(stripe_id=details.get("price")).values_list("plan_code", flat=True).first()


def _subscription_of(invoice: dict[str, Any]) -> str | None:
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    found = details.get("subscription")
    return str(found) if found else None


def _allowance_grant(account_id: int, invoice: dict[str, Any], now: datetime) -> None:
    """The calls of the plan on the invoice. After a change of plan within a period (subscription_update) only when the
    account has no calls in that period yet: up, down and up again is no way to more calls."""
    bought = _bought(invoice)
    if bought is None:
        return
    plan, start, end = bought
    if invoice["billing_reason"] == "subscription_update":
        if Allowance.objects.filter(account_id=account_id, period_start__lte=now, period_end__gte=end).exists():
            return
    elif invoice["billing_reason"] not in ("subscription_create", "subscription_cycle"):
        return
    Allowance.objects.get_or_create(
        grant_key=f"invoice:{invoice['id']}",
        defaults={
            "account_id": account_id,
            "period_start": start,
            "period_end": end + RENEWAL_MARGIN,
            "calls_granted": plan.period_calls,
        },
    )


def _bought(invoice: dict[str, Any]) -> tuple[Plan, datetime, datetime] | None:
    """The plan with an allowance that the invoice's positive lines pay for, with the line's period."""
    for line in invoice["lines"]["data"]:
        code = _plan_of_line(line)
        start = moment(line["period"]["start"])
        if code and line["amount"] > 0:
            plan = plan_in_force(code, start)
            if plan.period_calls:
                return plan, start, moment(line["period"]["end"])
    return None
