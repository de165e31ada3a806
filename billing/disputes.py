"""Disputes: the contested amount leaves the wallet at once, below zero where it must, and returns once if it is won."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_noop

from billing import ledger, stripe_client
from billing.arrears import arrears_review, taken_back, wallet_lock
from billing.customers import account_of_customer
from billing.models import Dispute, EntryKind, TopUp
from billing.money import microusd_from_cents

RESTORED = ("won", "warning_closed")
FINAL = (*RESTORED, "lost", "prevented")

logger = logging.getLogger(__name__)


def dispute_refresh(*, stripe_id: str, now: datetime) -> Dispute | None:
    """Fetch a dispute and follow it. None when the charge is none of ours."""
    found = stripe_client.dispute_retrieve(dispute_id=stripe_id)
    charge = stripe_client.charge_retrieve(charge_id=found["charge"]) if found.get("charge") else {}
    return dispute_follow(found=found, customer_id=charge.get("customer"), now=now)


@transaction.atomic
def dispute_follow(*, found: dict[str, Any], customer_id: str | None, now: datetime) -> Dispute | None:
    top_up = TopUp.objects.filter(payment_intent_id=found.get("payment_intent") or "").first()
    account_id = top_up.account_id if top_up else account_of_customer(customer_id)
    if account_id is None:
        return None
    wallet_lock(account_id)
    row, created = Dispute.objects.get_or_create(
        stripe_id=found["id"],
        defaults={
            "account_id": account_id,
            "top_up": top_up,
            "amount_cents": found["amount"],
            "status": found["status"],
            "created_at": now,
        },
    )
    if created and top_up is None:
        logger.error("dispute %s contests a charge of account %s that added no funds", found["id"], account_id)
    Dispute.objects.filter(pk=row.pk).update(status=found["status"])
    if top_up is not None:
        _book(row, top_up, str(found["status"]), now)
    row.refresh_from_db()
    return row


def _book(dispute: Dispute, top_up: TopUp, status: str, now: datetime) -> None:
    amount_microusd = microusd_from_cents(dispute.amount_cents)
    taken_back(
        account_id=top_up.account_id,
        kind=EntryKind.DISPUTE,
        amount_microusd=amount_microusd,
        op_key=f"dispute:{dispute.stripe_id}",
        now=now,
        note=gettext_noop("The card's holder contests a payment"),
    )
    if status not in RESTORED:
        return
    Dispute.objects.filter(pk=dispute.pk).update(restored=True)
    ledger.entry_post(
        account_id=top_up.account_id,
        kind=EntryKind.DISPUTE_WON,
        amount_microusd=amount_microusd,
        op_key=f"dispute_won:{dispute.stripe_id}",
        now=now,
        note=gettext_noop("The dispute ended in your favour"),
    )
    arrears_review(account_id=top_up.account_id)
