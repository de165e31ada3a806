"""Mails about money to an account's owners and payers. Each fact is told once: the row of the notice decides."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction

from accounts.adapters import html_of
from accounts.models import Membership, Role
from billing.entitlements import billing_url
from billing.models import MoneyNotice, TopUp
from billing.money import microusd_from_cents, usd_text
from billing.signals import money_told

logger = logging.getLogger(__name__)


def tell_once(
    *,
    account_id: int,
    key: str,
    subject: str,
    paragraphs: list[str],
    now: datetime,
    facts: dict[str, object] | None = None,
) -> bool:
    """Send unless this account was told `key` before. A mail that cannot be sent is logged and told no more: the same
    facts stand on the billing page. `facts` are what programs are told (billing.signals), in the notice's commit."""
    with transaction.atomic():
        notice, new = MoneyNotice.objects.get_or_create(account_id=account_id, key=key[:120], defaults={"sent_at": now})
        if new and facts is not None:
            told = facts | {"message": " ".join(paragraphs)}
            money_told.send(sender=MoneyNotice, account_id=account_id, notice_id=notice.pk, facts=told, now=now)
    if new:
        _send(account_id, subject, paragraphs)
    return new


def _send(account_id: int, subject: str, paragraphs: list[str]) -> None:
    payers = Membership.objects.filter(account_id=account_id, role__in=[Role.OWNER, Role.BILLING])
    text = "\n\n".join([*paragraphs, f"Billing: {billing_url()}"])
    for address in payers.values_list("user__email", flat=True):
        mail = EmailMultiAlternatives(f"{settings.SITE_NAME}: {subject}", text, settings.DEFAULT_FROM_EMAIL, [address])
        mail.attach_alternative(html_of(text), "text/html")
        try:
            mail.send()
        except OSError:
            logger.exception("A mail about money to account %s could not be sent", account_id)


def dollars(amount_microusd: int) -> str:
    return f"${usd_text(amount_microusd, places=2)}"


def payment_failed(*, account_id: int, invoice: dict[str, Any], now: datetime) -> None:
    amount = dollars(microusd_from_cents(invoice["amount_due"]))
    tell_once(
        account_id=account_id,
        key=f"invoice:{invoice['id']}:{invoice['attempt_count']}",
        subject="A payment failed",
        paragraphs=[
            f"The payment of {amount} for your plan failed. The card will be tried again, and your plan stays for"
            f" {settings.PAST_DUE_GRACE_DAYS} days from then: please check the card in the billing portal.",
            "After that the plan gives nothing until the invoice is paid. Your funds and free calls are untouched.",
        ],
        now=now,
    )


def funds_added(*, top_up: TopUp, now: datetime) -> None:
    """The receipt, of a top-up by hand or by auto-recharge."""
    amount = dollars(microusd_from_cents(top_up.amount_cents))
    how = "Auto-recharge added it with your saved card." if top_up.origin == TopUp.RECHARGE else "Thank you."
    tell_once(
        account_id=top_up.account_id,
        key=f"receipt:{top_up.public_id}",
        subject="Funds were added",
        paragraphs=[
            f"{amount} was paid and is in your balance. {how}",
            f"Receipt {top_up.receipt_number}: {billing_url()}receipts/{top_up.public_id}",
        ],
        now=now,
    )


def plan_told(*, account_id: int, key: str, subject: str, text: str, now: datetime) -> None:
    """What became of a plan: it began, changed, ended, or an unpaid invoice stopped it."""
    tell_once(account_id=account_id, key=key, subject=subject, paragraphs=[text], now=now)


def recharge_failed(*, account_id: int, reference: str, reason: str, stopped: bool, now: datetime) -> None:
    end = "It is switched off now." if stopped else "It will be tried again in an hour."
    tell_once(
        account_id=account_id,
        key=f"recharge-failed:{reference}",
        subject="Auto-recharge failed",
        paragraphs=[f"Your saved card could not be charged: {reason}", end],
        now=now,
    )


def recharge_capped(*, account_id: int, month: str, cap_cents: int, now: datetime) -> None:
    cap = dollars(microusd_from_cents(cap_cents))
    tell_once(
        account_id=account_id,
        key=f"recharge-cap:{month}",
        subject="Auto-recharge reached its monthly cap",
        paragraphs=[f"Another recharge would exceed the {cap} that you allow a month. It goes on next month."],
        now=now,
    )


def balance_low(*, account_id: int, since: str, available_microusd: int, now: datetime) -> None:
    tell_once(
        account_id=account_id,
        key=f"balance-low:{since}",
        subject="Your balance is low",
        paragraphs=[f"{dollars(max(available_microusd, 0))} is left. Calls beyond it are refused, never owed."],
        now=now,
        facts={"event": "balance.low", "available_microusd": available_microusd},
    )


def spending(*, account_id: int, key: str, scope: str, percent: int, limit_microusd: int, now: datetime) -> None:
    effect = "Further calls that cost money are refused until next month." if percent >= 100 else "Nothing has stopped."
    tell_once(
        account_id=account_id,
        key=key,
        subject=f"{percent} % of a spending limit",
        paragraphs=[f"{scope} has spent {percent} % of {dollars(limit_microusd)} this month (UTC).", effect],
        now=now,
        facts={"event": "spending.limit", "scope": scope, "percent": percent, "limit_microusd": limit_microusd},
    )


def spending_warned(
    *, account_id: int, key: str, warn_microusd: int, now: datetime, scope: str = "This account"
) -> None:
    tell_once(
        account_id=account_id,
        key=key,
        subject="Spending reached your mark",
        paragraphs=[f"{scope} has spent {dollars(warn_microusd)} this month (UTC). Nothing has stopped."],
        now=now,
        facts={"event": "spending.mark", "scope": scope, "mark_microusd": warn_microusd},
    )
