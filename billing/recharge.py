"""Auto-recharge: a saved card adds funds below a threshold, within a monthly cap, and stops after repeated failures."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q, Sum
from django.utils.translation import gettext, gettext_noop

from accounts.errors import DomainError
from accounts.models import Account
from billing import mails, stripe_client
from billing.arrears import wallet_lock
from billing.customers import customer_ensure, customer_of, mode_now
from billing.entitlements import month_of
from billing.errors import CardDeclined, PaymentProviderRefused, RechargeRefused
from billing.models import AutoRecharge, TopUp, TopUpState
from billing.models.payments import public_id_new
from billing.money import MICROUSD_PER_CENT
from billing.topups import MAXIMUM_CENTS, MINIMUM_CENTS, topup_credit, topup_end
from billing.wording import dollars

FAILURES_MAX = 3
RETRY_AFTER = timedelta(hours=1)
# Stripe keeps an idempotency key for a day: within it, asking again answers what happened.
SAME_QUESTION = timedelta(hours=23)
PER_RUN = 50
# Reasons are kept in English and looked up where people read them.
NEEDS_PERSON = gettext_noop("your bank asks for you; please add funds by hand once.")


def recharge_set(
    *, account: Account, enabled: bool, threshold_cents: int, amount_cents: int, monthly_cap_cents: int
) -> AutoRecharge:
    """Raises RechargeRefused for amounts that make no sense together."""
    if not MINIMUM_CENTS <= amount_cents <= MAXIMUM_CENTS:
        least = dollars(MINIMUM_CENTS * MICROUSD_PER_CENT)
        raise RechargeRefused(reason=gettext("the amount must be at least %(amount)s.") % {"amount": least})
    if monthly_cap_cents < amount_cents:
        raise RechargeRefused(reason=gettext_noop("the monthly cap is below a single recharge."))
    row, _ = AutoRecharge.objects.update_or_create(
        account=account,
        defaults={
            "enabled": enabled,
            "threshold_cents": threshold_cents,
            "amount_cents": amount_cents,
            "monthly_cap_cents": monthly_cap_cents,
            "failures_in_row": 0,
            "stopped_reason": "",
            "next_attempt_at": None,
        },
    )
    return row


def card_saved(account_id: int) -> str | None:
    """The id of a payment method that may be charged while nobody is there."""
    customer_id = customer_of(account_id)
    methods = stripe_client.payment_methods_list(customer_id=customer_id) if customer_id else []
    return str(methods[0]["id"]) if methods else None


def card_page(*, account: Account, success_url: str, cancel_url: str, now: datetime) -> str:
    """The address of the page that saves a card without a payment."""
    session = stripe_client.checkout_setup_create(
        attempt_id=public_id_new(),
        account_id=str(account.pk),
        customer_id=customer_ensure(account=account, now=now),
        success_url=success_url,
        cancel_url=cancel_url,
    )
    return str(session["url"])


def recharges_due(now: datetime) -> list[int]:
    """Accounts below their threshold, and those whose recharge waits for an answer."""
    ready = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
    below = Q(
        account__wallet__balance_microusd__lt=F("threshold_cents") * MICROUSD_PER_CENT
        + F("account__wallet__held_microusd")
    )
    prepaid = AutoRecharge.objects.filter(enabled=True, account__wallet__postpaid_limit_microusd=None)
    wanted = prepaid.filter(ready, below).values_list("account_id", flat=True)
    waiting = TopUp.objects.filter(origin=TopUp.RECHARGE, state=TopUpState.CREATED, mode=mode_now())
    return [*wanted[:PER_RUN], *waiting.values_list("account_id", flat=True)[:PER_RUN]]


def recharges_run(*, now: datetime) -> None:
    for account_id in dict.fromkeys(recharges_due(now)):
        recharge_run(account_id=account_id, now=now)


def recharge_run(*, account_id: int, now: datetime) -> TopUp | None:
    """One recharge: the row is committed, then the card is charged, then the wallet credited. None when none is due."""
    waiting = TopUp.objects.filter(account_id=account_id, origin=TopUp.RECHARGE, state=TopUpState.CREATED).first()
    top_up = waiting or _recharge_start(account_id, now)
    if top_up is None:
        _tell_cap(account_id, now)
        return None
    _charge(top_up, again=waiting is not None, now=now)
    top_up.refresh_from_db()
    return top_up


@transaction.atomic
def _recharge_start(account_id: int, now: datetime) -> TopUp | None:
    """Decided under the wallet's lock, so that two runs make one. What is owed by a post-paid account is invoiced: a
    card that paid it as well would pay it twice."""
    wallet = wallet_lock(account_id)
    wish = AutoRecharge.objects.filter(pk=account_id, enabled=True).first()
    if wish is None or wallet.available_microusd >= wish.threshold_cents * MICROUSD_PER_CENT:
        return None
    if (
        wallet.in_arrears
        or wallet.postpaid_limit_microusd is not None
        or (wish.next_attempt_at and wish.next_attempt_at > now)
    ):
        return None
    if _beyond_cap(wish, now):
        return None
    try:
        with transaction.atomic():
            return TopUp.objects.create(
                account_id=account_id,
                mode=mode_now(),
                origin=TopUp.RECHARGE,
                amount_cents=wish.amount_cents,
                created_at=now,
            )
    except IntegrityError:
        return None


def _beyond_cap(wish: AutoRecharge, now: datetime) -> bool:
    month = TopUp.objects.filter(account_id=wish.pk, origin=TopUp.RECHARGE, created_at__gte=month_of(now))
    used = month.exclude(state=TopUpState.FAILED).aggregate(s=Sum("amount_cents"))["s"] or 0
    return int(used) + wish.amount_cents > wish.monthly_cap_cents


def _tell_cap(account_id: int, now: datetime) -> None:
    wish = AutoRecharge.objects.filter(pk=account_id, enabled=True).first()
    if wish is not None and _beyond_cap(wish, now):
        mails.recharge_capped(
            account_id=account_id, month=f"{month_of(now):%Y-%m}", cap_cents=wish.monthly_cap_cents, now=now
        )


def _charge(top_up: TopUp, *, again: bool, now: datetime) -> None:
    """A charge whose answer is lost leaves the row as it is: the next run looks for the payment, then asks again."""
    try:
        intent = (_charged_before(top_up, now) if again else None) or _charge_card(top_up)
    except (CardDeclined, PaymentProviderRefused, RechargeRefused) as problem:
        _failed(top_up, _reason(problem), now)
        return
    if intent["status"] == "succeeded":
        _succeeded(top_up, str(intent["id"]), now)
    elif intent["status"] != "processing":
        _failed(top_up, NEEDS_PERSON, now)


def _charged_before(top_up: TopUp, now: datetime) -> dict[str, Any] | None:
    """After a day without a payment nothing more is asked: the provider has forgotten the key of the question."""
    found = stripe_client.payment_intent_find(
        customer_id=customer_of(top_up.account_id) or "",
        topup_id=top_up.public_id,
        created_from_s=int(top_up.created_at.timestamp()) - 3600,
    )
    if found is None and now > top_up.created_at + SAME_QUESTION:
        raise RechargeRefused(reason=gettext_noop("the payment provider never answered."))
    return found


def _charge_card(top_up: TopUp) -> dict[str, Any]:
    method = card_saved(top_up.account_id)
    if method is None:
        raise RechargeRefused(reason=gettext_noop("there is no saved card."))
    return stripe_client.payment_intent_create_off_session(
        topup_id=top_up.public_id,
        account_id=str(top_up.account_id),
        customer_id=customer_of(top_up.account_id) or "",
        payment_method_id=method,
        amount_cents=top_up.amount_cents,
        description="Auto-recharge",
    )


def _reason(problem: DomainError) -> str:
    if problem.fields.get("needs_person"):
        return NEEDS_PERSON
    return str(problem.fields["reason"])


def _succeeded(top_up: TopUp, payment_intent_id: str, now: datetime) -> None:
    topup_credit(top_up=top_up, payment_intent_id=payment_intent_id, now=now)
    AutoRecharge.objects.filter(pk=top_up.account_id).update(failures_in_row=0)
    mails.funds_added(top_up=top_up, now=now)


def _failed(top_up: TopUp, reason: str, now: datetime) -> None:
    if not topup_end(top_up=top_up, state=TopUpState.FAILED, problem=reason):
        return
    wish = AutoRecharge.objects.filter(pk=top_up.account_id)
    wish.update(failures_in_row=F("failures_in_row") + 1, next_attempt_at=now + RETRY_AFTER)
    stopped = bool(wish.filter(failures_in_row__gte=FAILURES_MAX).update(enabled=False, stopped_reason=reason[:200]))
    mails.recharge_failed(
        account_id=top_up.account_id, reference=top_up.public_id, reason=reason, stopped=stopped, now=now
    )
