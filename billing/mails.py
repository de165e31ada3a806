"""Mails about money to an account's owners and payers, in the language of each. A fact is told once: the row of the
notice decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.adapters import html_of
from accounts.models import Membership, Role
from billing.entitlements import billing_url
from billing.models import MoneyNotice, TopUp
from billing.money import microusd_from_cents
from billing.signals import money_told
from billing.wording import dollars

logger = logging.getLogger(__name__)

# Subject and paragraphs, in the language that is active when it is called.
Words = Callable[[], tuple[str, list[str]]]
# Who or what has spent: a text that is looked up when it is shown.
Scope = str | Promise


def tell_once(
    *, account_id: int, key: str, words: Words, now: datetime, facts: dict[str, object] | None = None
) -> bool:
    """Send unless this account was told `key` before. A mail that cannot be sent is logged and told no more: the same
    facts stand on the billing page. `facts` are what programs are told (billing.signals), in English, in the notice's
    commit."""
    with transaction.atomic():
        notice, new = MoneyNotice.objects.get_or_create(account_id=account_id, key=key[:120], defaults={"sent_at": now})
        if new and facts is not None:
            with translation.override("en"):
                told = {name: str(fact) if isinstance(fact, Promise) else fact for name, fact in facts.items()}
                told["message"] = " ".join(words()[1])
            money_told.send(sender=MoneyNotice, account_id=account_id, notice_id=notice.pk, facts=told, now=now)
    if new:
        _send(account_id, words)
    return new


def _send(account_id: int, words: Words) -> None:
    payers = Membership.objects.filter(account_id=account_id, role__in=[Role.OWNER, Role.BILLING])
    for address, language in payers.values_list("user__email", "user__language"):
        with translation.override(language or settings.LANGUAGE_CODE):
            subject, paragraphs = words()
            text = "\n\n".join([*paragraphs, _("Billing: %(address)s") % {"address": billing_url()}])
            html = html_of(text)
        mail = EmailMultiAlternatives(f"{settings.SITE_NAME}: {subject}", text, settings.DEFAULT_FROM_EMAIL, [address])
        mail.attach_alternative(html, "text/html")
        try:
            mail.send()
        except OSError:
            logger.exception("A mail about money to account %s could not be sent", account_id)


def payment_failed(*, account_id: int, invoice: dict[str, Any], now: datetime) -> None:
    amount_microusd = microusd_from_cents(invoice["amount_due"])

    def words() -> tuple[str, list[str]]:
        failed = _(
            "The payment of %(amount)s for your plan failed. The card will be tried again, and your plan stays for"
            " %(days)s days from then: please check the card in the billing portal."
        )
        after = _(
            "After that the plan gives nothing until the invoice is paid. Your funds and free calls are untouched."
        )
        facts = {"amount": dollars(amount_microusd), "days": settings.PAST_DUE_GRACE_DAYS}
        return _("A payment failed"), [failed % facts, after]

    tell_once(account_id=account_id, key=f"invoice:{invoice['id']}:{invoice['attempt_count']}", words=words, now=now)


def funds_added(*, top_up: TopUp, now: datetime) -> None:
    """The receipt, of a top-up by hand or by auto-recharge."""

    def words() -> tuple[str, list[str]]:
        by_itself = top_up.origin == TopUp.RECHARGE
        how = _("Auto-recharge added it with your saved card.") if by_itself else _("Thank you.")
        amount = dollars(microusd_from_cents(top_up.amount_cents))
        paid = _("%(amount)s was paid and is in your balance.") % {"amount": amount}
        facts = {"number": top_up.receipt_number, "address": f"{billing_url()}receipts/{top_up.public_id}"}
        return _("Funds were added"), [f"{paid} {how}", _("Receipt %(number)s: %(address)s") % facts]

    tell_once(account_id=top_up.account_id, key=f"receipt:{top_up.public_id}", words=words, now=now)


def plan_told(*, account_id: int, key: str, words: Words, now: datetime) -> None:
    """What became of a plan: it began, changed, ended, or an unpaid invoice stopped it."""
    tell_once(account_id=account_id, key=key, words=words, now=now)


def recharge_failed(*, account_id: int, reference: str, reason: str, stopped: bool, now: datetime) -> None:
    """`reason` is one of billing.recharge's, or the payment provider's own words."""

    def words() -> tuple[str, list[str]]:
        end = _("It is switched off now.") if stopped else _("It will be tried again in an hour.")
        failed = _("Your saved card could not be charged: %(reason)s") % {"reason": _(reason)}
        return _("Auto-recharge failed"), [failed, end]

    tell_once(account_id=account_id, key=f"recharge-failed:{reference}", words=words, now=now)


def recharge_capped(*, account_id: int, month: str, cap_cents: int, now: datetime) -> None:
    def words() -> tuple[str, list[str]]:
        text = _("Another recharge would exceed the %(cap)s that you allow a month. It goes on next month.")
        cap = dollars(microusd_from_cents(cap_cents))
        return _("Auto-recharge reached its monthly cap"), [text % {"cap": cap}]

    tell_once(account_id=account_id, key=f"recharge-cap:{month}", words=words, now=now)


def balance_low(*, account_id: int, since: str, available_microusd: int, now: datetime) -> None:
    def words() -> tuple[str, list[str]]:
        left = _("%(amount)s is left. Calls beyond it are refused, never owed.")
        return _("Your balance is low"), [left % {"amount": dollars(max(available_microusd, 0))}]

    facts: dict[str, object] = {"event": "balance.low", "available_microusd": available_microusd}
    tell_once(account_id=account_id, key=f"balance-low:{since}", words=words, now=now, facts=facts)


def spending(*, account_id: int, key: str, scope: Scope, percent: int, limit_microusd: int, now: datetime) -> None:
    def words() -> tuple[str, list[str]]:
        refused = _("Further calls that cost money are refused until next month.")
        told = _("%(scope)s has spent %(percent)s %% of %(limit)s this month (UTC).")
        facts = {"scope": scope, "percent": percent, "limit": dollars(limit_microusd)}
        subject = _("%(percent)s %% of a spending limit") % {"percent": percent}
        return subject, [told % facts, refused if percent >= 100 else _("Nothing has stopped.")]

    facts: dict[str, object] = {
        "event": "spending.limit",
        "scope": scope,
        "percent": percent,
        "limit_microusd": limit_microusd,
    }
    tell_once(account_id=account_id, key=key, words=words, now=now, facts=facts)


def spending_warned(*, account_id: int, key: str, warn_microusd: int, now: datetime, scope: Scope = "") -> None:
    """`scope` is the account, where it is not given."""
    whose = scope or gettext_lazy("This account")

    def words() -> tuple[str, list[str]]:
        told = _("%(scope)s has spent %(amount)s this month (UTC).") % {
            "scope": whose,
            "amount": dollars(warn_microusd),
        }
        return _("Spending reached your mark"), [f"{told} {_('Nothing has stopped.')}"]

    facts: dict[str, object] = {"event": "spending.mark", "scope": whose, "mark_microusd": warn_microusd}
    tell_once(account_id=account_id, key=key, words=words, now=now, facts=facts)
