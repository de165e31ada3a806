"""The record of an account: what its members did, in words that they read themselves. No secrets, no texts of keys."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from accounts.models import Account, AccountEvent, User

TARGET_CHARACTERS = 200


def event_record(
    *, account: Account, action: str, now: datetime, actor: User | None = None, target: str = "", address: str = ""
) -> AccountEvent:
    """One row; its caller writes it in the transaction of what it tells of. `address` is the person's, or empty."""
    return AccountEvent.objects.create(
        account=account,
        actor=actor,
        action=action,
        target=target[:TARGET_CHARACTERS],
        address=address or None,
        created_at=now,
    )


def events_of(account: Account) -> QuerySet[AccountEvent]:
    """Newest first."""
    return AccountEvent.objects.filter(account=account).select_related("actor").order_by("-id")
