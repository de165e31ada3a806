"""Which mails tell of accounts and keys, and to whom: the templates are in templates/emails/."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.core import signing
from django.urls import reverse
from django.utils import timezone

from accounts.addresses import site_url
from accounts.mails import mail_send
from accounts.models import ApiKey, Membership, Role, User
from billing.entitlements import day_of
from billing.models import MoneyNotice, UsageDay
from gateway.site.context import free_calls_per_day

UNSUBSCRIBE_SALT = "accounts.notices"
FREE_STEPS_PERCENT = (80, 100)


def unsubscribe_url(user: User) -> str:
    """Ends every mail that is neither about money nor about security, without a log-in."""
    token = signing.dumps(user.pk, salt=UNSUBSCRIBE_SALT)
    return site_url(reverse("dashboard:unsubscribe", kwargs={"token": token}))


def key_made_mail(*, api_key: ApiKey, user: User, address: str) -> None:
    """To the person who made it: a key that somebody else made in their name must not go unseen."""
    values = {
        "key": api_key.display,
        "name": api_key.name,
        "account": api_key.account.name,
        "address": address,
        "keys_url": site_url(reverse("dashboard:keys")),
    }
    mail_send(template="key_made", to=user.email, values=values, language=user.language)


def key_revoked_mail(*, api_key: ApiKey, by: User | None) -> None:
    """To the account's owners, whoever revoked it; None is another key, over the API."""
    owners = Membership.objects.filter(account=api_key.account, role=Role.OWNER).select_related("user")
    for owner in owners:
        values = {
            "key": api_key.display,
            "name": api_key.name,
            "account": api_key.account.name,
            "by": by.email if by else "",
            "events_url": site_url(reverse("dashboard:events")),
        }
        mail_send(template="key_revoked", to=owner.user.email, values=values, language=owner.user.language)


def new_device_mail(*, user: User, user_agent: str, address: str) -> None:
    values = {
        "email": user.email,
        "user_agent": user_agent,
        "address": address,
        "at": f"{timezone.now():%Y-%m-%d %H:%M}",
        "security_url": site_url(reverse("account_change_password")),
    }
    mail_send(template="new_device", to=user.email, values=values, language=user.language)


def key_leaked_mail(*, api_key: ApiKey, user: User, found_at: str) -> None:
    values = {
        "key": api_key.display,
        "name": api_key.name,
        "account": api_key.account.name,
        "found_at": found_at,
        "keys_url": site_url(reverse("dashboard:keys")),
    }
    mail_send(template="key_leaked", to=user.email, values=values, language=user.language)


def notice_mail(*, template: str, user: User, values: Mapping[str, object]) -> None:
    """A mail that may be stopped: nothing for those who stopped them."""
    if user.notices:
        mail_send(
            template=template,
            to=user.email,
            values=dict(values),
            language=user.language,
            unsubscribe_url=unsubscribe_url(user),
        )


def webhook_paused_tell(*, account_id: int, origin: str) -> None:
    """To those who can mend a receiver."""
    makers = Membership.objects.filter(account_id=account_id, role__in=[Role.OWNER, Role.DEVELOPER])
    for member in makers.select_related("user", "account"):
        values = {
            "origin": origin,
            "account": member.account.name,
            "webhooks_url": site_url(reverse("dashboard:webhooks")),
        }
        notice_mail(template="webhook_paused", user=member.user, values=values)


def free_calls_tell(*, now: datetime) -> int:
    """Once a month and step, to the owners of accounts that used up most or all of a day's free calls; how many."""
    free_calls = free_calls_per_day()
    day, told = day_of(now), 0
    if not free_calls:
        return 0
    for step in FREE_STEPS_PERCENT:
        reached = UsageDay.objects.filter(day=day, calls__gte=-(-free_calls * step // 100))
        key = f"free-calls:{day:%Y-%m}:{step}"
        known = MoneyNotice.objects.filter(key=key).values("account_id")
        for account_id in reached.exclude(account_id__in=known).values_list("account_id", flat=True):
            _, new = MoneyNotice.objects.get_or_create(account_id=account_id, key=key, defaults={"sent_at": now})
            if new:
                told += 1
                _free_calls_mail(account_id, step, free_calls)
    return told


def _free_calls_mail(account_id: int, percent: int, free_calls: int) -> None:
    owners = Membership.objects.filter(account_id=account_id, role=Role.OWNER).select_related("user", "account")
    for owner in owners:
        values = {
            "account": owner.account.name,
            "percent": percent,
            "free_calls": free_calls,
            "billing_url": site_url(reverse("dashboard:billing")),
        }
        notice_mail(template="free_calls", user=owner.user, values=values)
