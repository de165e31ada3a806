"""Adding funds: our row first, then a page at the provider, then the credit, once, whoever learns of the payment first.

Nothing is believed that a browser or a message says: the session is fetched and compared with our row, and the amount
is our row's.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_noop

from accounts.models import Account, User
from billing import ledger, stripe_client
from billing.arrears import arrears_review, wallet_lock
from billing.customers import account_of_customer, customer_ensure, mode_now
from billing.errors import PaymentMismatch, PaymentProviderUnavailable, TopUpAmountInvalid
from billing.models import EntryKind, Mode, TopUp, TopUpState
from billing.money import microusd_from_cents, usd_text
from billing.services import funded_account_upgrade

MINIMUM_CENTS = 500
MAXIMUM_CENTS = 1_000_000
CHOICES_CENTS = (1000, 2500, 5000, 10_000)
SESSION_LIFE = timedelta(hours=23)
UNPAID = (TopUpState.CREATED, TopUpState.OPEN)

logger = logging.getLogger(__name__)


def topup_start(*, account: Account, amount_cents: int, nonce: str, now: datetime, by: User | None) -> TopUp:
    """The committed row of a wish to add funds; the same form (nonce) with the same amount finds the row of before."""
    if not MINIMUM_CENTS <= amount_cents <= MAXIMUM_CENTS:
        raise TopUpAmountInvalid(
            minimum_usd=usd_text(microusd_from_cents(MINIMUM_CENTS), places=2),
            maximum_usd=usd_text(microusd_from_cents(MAXIMUM_CENTS), places=2),
        )
    top_up, _ = TopUp.objects.get_or_create(
        account=account,
        nonce=f"{nonce}:{amount_cents}",
        defaults={"mode": mode_now(), "amount_cents": amount_cents, "created_at": now, "made_by": by},
    )
    return top_up


def topup_page(*, top_up: TopUp, success_url: str, cancel_url: str, saves_card: bool = False) -> str:
    """The address of the page that takes the money. It is a secret of the customer's: never stored, never logged."""
    if top_up.session_id:
        there = stripe_client.session_retrieve(session_id=top_up.session_id)["url"]
        return str(there or success_url.replace("{CHECKOUT_SESSION_ID}", top_up.session_id))
    customer_id = customer_ensure(account=top_up.account, now=top_up.created_at)
    try:
        session = stripe_client.checkout_topup_create(
            topup_id=top_up.public_id,
            account_id=str(top_up.account_id),
            customer_id=customer_id,
            amount_cents=top_up.amount_cents,
            description=f"{settings.SITE_NAME}: funds",
            success_url=success_url,
            cancel_url=cancel_url,
            expires_at_s=int((top_up.created_at + SESSION_LIFE).timestamp()),
            saves_card=saves_card,
            automatic_tax=settings.STRIPE_AUTOMATIC_TAX,
        )
    except PaymentProviderUnavailable:
        # Stripe repeats a stored fault for the same key for a day, though the session may exist: look before giving up.
        found = _session_of(top_up, customer_id)
        if found is None:
            raise
        session = found
    topup_opened(top_up=top_up, session_id=session["id"])
    return str(session["url"])


def _session_of(top_up: TopUp, customer_id: str) -> dict[str, Any] | None:
    return stripe_client.session_find(
        customer_id=customer_id,
        client_reference_id=top_up.public_id,
        created_from_s=int(top_up.created_at.timestamp()) - 3600,
    )


def topup_opened(*, top_up: TopUp, session_id: str) -> None:
    """Our row learns its session. The first one stays: a top-up has at most one that can be paid."""
    TopUp.objects.filter(pk=top_up.pk, session_id=None).update(session_id=session_id)
    TopUp.objects.filter(pk=top_up.pk, state=TopUpState.CREATED).update(state=TopUpState.OPEN)
    top_up.refresh_from_db()


def topup_of_session(session: dict[str, Any]) -> TopUp | None:
    """By the session's id; by our reference when the process died between the creation and saving the id."""
    found = TopUp.objects.filter(session_id=session["id"]).select_related("account").first()
    reference = session.get("client_reference_id") or ""
    return found or TopUp.objects.filter(public_id=reference, session_id=None).select_related("account").first()


def topup_apply_session(*, top_up: TopUp, session: dict[str, Any], now: datetime) -> TopUp:
    """Bring our row in line with a session that was fetched just now; credits when it is paid. Any number of times.

    Raises PaymentMismatch when the session is not the one that our row asked for; nothing changes then.
    """
    _require_same(top_up, session)
    topup_opened(top_up=top_up, session_id=session["id"])
    if session["status"] == "complete" and session["payment_status"] == "paid":
        topup_credit(top_up=top_up, payment_intent_id=session["payment_intent"], now=now)
    elif session["status"] == "expired":
        topup_end(top_up=top_up, state=TopUpState.EXPIRED, problem="")
    elif session["payment_status"] == "no_payment_required":
        raise PaymentMismatch(what="a session that asks for no payment", reference=top_up.public_id)
    top_up.refresh_from_db()
    return top_up


def topup_failed_later(*, top_up: TopUp) -> None:
    """A delayed payment (a bank debit) did not come."""
    topup_end(top_up=top_up, state=TopUpState.FAILED, problem=gettext_noop("The bank did not pay."))


def topup_end(*, top_up: TopUp, state: TopUpState, problem: str) -> bool:
    """An end without money. One that was paid stays paid."""
    return bool(TopUp.objects.filter(pk=top_up.pk, state__in=UNPAID).update(state=state, problem=problem[:200]))


@transaction.atomic
def topup_credit(*, top_up: TopUp, payment_intent_id: str | None, now: datetime) -> bool:
    """The credit, the row's state and the upgrade of the plan in one commit; True when this call did it."""
    wallet_lock(top_up.account_id)
    TopUp.objects.filter(pk=top_up.pk).exclude(state=TopUpState.PAID).update(
        state=TopUpState.PAID, paid_at=now, payment_intent_id=payment_intent_id, problem=""
    )
    credited = ledger.entry_post(
        account_id=top_up.account_id,
        kind=EntryKind.TOP_UP,
        amount_microusd=microusd_from_cents(top_up.amount_cents),
        op_key=f"topup:{top_up.public_id}",
        now=now,
        note=gettext_noop("Auto-recharge") if top_up.origin == TopUp.RECHARGE else gettext_noop("Funds added"),
        made_by=top_up.made_by,
    )
    arrears_review(account_id=top_up.account_id)
    funded_account_upgrade(account_id=top_up.account_id)
    return credited


def _require_same(top_up: TopUp, session: dict[str, Any]) -> None:
    """Session, mode, currency, customer and amount must be what our row asked for. `amount_total` may differ by tax."""
    asked = {
        "session": top_up.session_id or session["id"],
        "mode": "payment",
        "livemode": top_up.mode == Mode.LIVE,
        "currency": top_up.currency,
        "account": top_up.account_id,
        "amount": top_up.amount_cents,
        "world": mode_now().value,
    }
    shown = {
        "session": session["id"],
        "mode": session["mode"],
        "livemode": session["livemode"],
        "currency": session["currency"],
        "account": account_of_customer(session["customer"]),
        "amount": session["amount_subtotal"],
        "world": top_up.mode,
    }
    different = [name for name in asked if asked[name] != shown[name]]
    if different:
        logger.error("top-up %s: the session differs in %s", top_up.public_id, ", ".join(different))
        raise PaymentMismatch(what=", ".join(different), reference=top_up.public_id)


def topup_refresh(*, top_up: TopUp, now: datetime) -> TopUp:
    """Ask the provider how a top-up stands, and follow it: for the success page and the reconciler alike."""
    if top_up.state not in UNPAID or top_up.origin == TopUp.RECHARGE:
        return top_up
    if top_up.session_id:
        session: dict[str, Any] | None = stripe_client.session_retrieve(session_id=top_up.session_id)
    else:
        session = _session_of(top_up, customer_ensure(account=top_up.account, now=now))
    if session is None:
        # Nobody was ever sent to a page: after the session's life there can be none.
        if now > top_up.created_at + timedelta(days=1):
            topup_end(
                top_up=top_up, state=TopUpState.EXPIRED, problem=gettext_noop("It never reached the payment page.")
            )
        return top_up
    topup_apply_session(top_up=top_up, session=session, now=now)
    if top_up.state == TopUpState.OPEN and session["payment_status"] == "unpaid" and session["status"] == "complete":
        _follow_delayed(top_up, session)
    return top_up


def _follow_delayed(top_up: TopUp, session: dict[str, Any]) -> None:
    """A complete session that is unpaid waits for a bank, unless the bank has refused already."""
    if not session["payment_intent"]:
        return
    intent = stripe_client.payment_intent_retrieve(payment_intent_id=session["payment_intent"])
    if intent["status"] in ("requires_payment_method", "canceled"):
        topup_failed_later(top_up=top_up)
