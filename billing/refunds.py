"""Refunds: the wallet is debited first, then the provider is asked, and a refund that fails is credited back, once."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext_noop

from accounts.models import User
from billing import ledger, stripe_client
from billing.arrears import arrears_review, taken_back, wallet_lock
from billing.errors import PaymentProviderRefused, RefundRefused
from billing.models import EntryKind, Refund, RefundState, TopUp, TopUpState
from billing.money import microusd_from_cents, usd_text

logger = logging.getLogger(__name__)


def refund_make(
    *, top_up: TopUp, amount_cents: int, reason: str, by: User | None, now: datetime, left_cents: int | None = None
) -> Refund:
    """Give a part of a top-up back. Raises RefundRefused when it is spent, held or refunded already, or when not
    exactly `left_cents` of it can be refunded: a form that is sent twice refunds once.

    PaymentProviderUnavailable leaves the row pending: the reconciler asks again with the same key.
    """
    refund = _refund_debit(top_up, amount_cents, left_cents, reason, by, now)
    refund_send(refund=refund, now=now)
    refund.refresh_from_db()
    return refund


@transaction.atomic
def _refund_debit(
    top_up: TopUp, amount_cents: int, left_cents: int | None, reason: str, by: User | None, now: datetime
) -> Refund:
    wallet = wallet_lock(top_up.account_id)
    top_up.refresh_from_db()
    if not reason.strip():
        raise RefundRefused(reason="it needs a reason.")
    if top_up.state != TopUpState.PAID or top_up.payment_intent_id is None:
        raise RefundRefused(reason="the top-up was not paid.")
    left = refundable_cents(top_up)
    if not 0 < amount_cents <= left:
        raise RefundRefused(reason=f"${usd_text(microusd_from_cents(left), places=2)} of this top-up can be refunded.")
    if left_cents is not None and left_cents != left:
        raise RefundRefused(reason="another refund of this top-up was made meanwhile.")
    if wallet.available_microusd < microusd_from_cents(amount_cents):
        raise RefundRefused(reason=f"the account has ${usd_text(wallet.available_microusd, places=2)} left.")
    refund = Refund.objects.create(
        top_up=top_up, amount_cents=amount_cents, reason=reason[:200], made_by=by, created_at=now
    )
    ledger.entry_post(
        account_id=top_up.account_id,
        kind=EntryKind.REFUND,
        amount_microusd=-microusd_from_cents(amount_cents),
        op_key=f"refund:{refund.public_id}",
        now=now,
        note=reason[:200],
        made_by=by,
    )
    return refund


def refundable_cents(top_up: TopUp) -> int:
    given = top_up.refunds.exclude(state=RefundState.FAILED).aggregate(s=Sum("amount_cents"))["s"] or 0
    return top_up.amount_cents - int(given)


def refund_send(*, refund: Refund, now: datetime) -> None:
    """Ask the provider; asking again with the same row is the same refund."""
    assert refund.top_up.payment_intent_id is not None
    try:
        made = stripe_client.refund_create(
            refund_id=refund.public_id,
            payment_intent_id=refund.top_up.payment_intent_id,
            amount_cents=refund.amount_cents,
        )
    except PaymentProviderRefused as problem:
        refund_end(refund=refund, succeeded=False, now=now)
        raise RefundRefused(reason=str(problem.fields["reason"])) from problem
    refund_follow(found=made, now=now)


def refund_refresh(*, stripe_id: str, now: datetime) -> Refund | None:
    return refund_follow(found=stripe_client.refund_retrieve(refund_id=stripe_id), now=now)


@transaction.atomic
def refund_follow(*, found: dict[str, Any], now: datetime) -> Refund | None:
    """Our row as the provider's refund stands; one that was made at the provider's own pages is booked here first.

    None when it refunds nothing of ours.
    """
    refund = _row_of(found, now)
    if refund is None:
        return None
    Refund.objects.filter(pk=refund.pk, stripe_id=None).update(stripe_id=found["id"])
    if found["status"] == "succeeded":
        refund_end(refund=refund, succeeded=True, now=now)
    elif found["status"] in ("failed", "canceled"):
        refund_end(refund=refund, succeeded=False, now=now)
    elif found["status"] not in ("pending", "requires_action"):
        logger.error("refund %s has the unknown status %r", found["id"], found["status"])
    return refund


def _row_of(found: dict[str, Any], now: datetime) -> Refund | None:
    top_up = TopUp.objects.filter(payment_intent_id=found.get("payment_intent") or "").first()
    if top_up is None:
        return None
    wallet_lock(top_up.account_id)
    ours = (found.get("metadata") or {}).get("refund") or ""
    row = top_up.refunds.filter(stripe_id=found["id"]).first() or top_up.refunds.filter(public_id=ours).first()
    if row is not None:
        return row
    row = Refund.objects.create(
        top_up=top_up,
        amount_cents=found["amount"],
        stripe_id=found["id"],
        reason="Made at the payment provider",
        created_at=now,
    )
    taken_back(
        account_id=top_up.account_id,
        kind=EntryKind.REFUND,
        amount_microusd=microusd_from_cents(row.amount_cents),
        op_key=f"refund:{row.public_id}",
        now=now,
        note=row.reason,
    )
    return row


@transaction.atomic
def refund_end(*, refund: Refund, succeeded: bool, now: datetime) -> None:
    """A refund may fail even after it succeeded (the bank sends it back), but is credited back only once."""
    wallet_lock(refund.top_up.account_id)
    rows = Refund.objects.filter(pk=refund.pk).exclude(state=RefundState.FAILED)
    if succeeded:
        rows.update(state=RefundState.SUCCEEDED)
        return
    if not rows.update(state=RefundState.FAILED):
        return
    ledger.entry_post(
        account_id=refund.top_up.account_id,
        kind=EntryKind.REFUND_REVERSED,
        amount_microusd=microusd_from_cents(refund.amount_cents),
        op_key=f"refund_reversed:{refund.public_id}",
        now=now,
        note=gettext_noop("The refund failed"),
    )
    arrears_review(account_id=refund.top_up.account_id)
