"""The record of an account: what its members did, in words that they read themselves. No secrets, no texts of keys."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from accounts.models import Account, AccountEvent, Role, User

TARGET_CHARACTERS = 200
# Rows keep the English words; pages look them up. Any other word shows as it is.
ACTIONS = (
    _("invited"),
    _("withdrew the invitation of"),
    _("joined"),
    _("changed the role of"),
    _("left"),
    _("removed"),
    _("made the key"),
    _("rolled the key"),
    _("changed the key"),
    _("revoked the key"),
    _("a leak was reported, which revoked the key"),
    _("the operator revoked the key"),
    _("logged in"),
    _("changed the own password"),
    _("reset the own password"),
    _("added a second factor"),
    _("removed a second factor"),
    _("made new recovery codes"),
    _("shared the call"),
    _("revoked the link to the call"),
    _("changed settings:"),
    _("exported all data"),
)
# Their targets end in a role, which rows keep as its code.
_OF_ROLES = frozenset({"invited", "joined", "changed the role of"})
# What was changed, as rows name it and as pages do.
_CHANGED = {
    "name": _("name"),
    "scopes": _("scopes"),
    "model ids": _("models"),
    "networks": _("networks"),
    "origins": _("web pages"),
    "calls per minute": _("calls per minute"),
    "calls per day": _("calls per day"),
    "queued calls": _("queued calls"),
    "budget": _("budget"),
    "warn": _("warning"),
    "time zone": _("time zone"),
    "retention days": _("days of keeping"),
    "parameters in pictures": _("settings in pictures"),
}
_OF_CHANGES = frozenset({"changed the key", "changed settings:"})


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


def target_text(event: AccountEvent) -> str:
    """Whom or what it was done to, with roles and changes as pages call them."""
    before, colon, end = event.target.rpartition(": ")
    if event.action in _OF_ROLES and end in Role.values:
        return f"{before}{colon}{Role(end).label}"
    if event.action in _OF_CHANGES:
        names = [gettext(_CHANGED.get(name, name)) for name in end.split(", ")]
        return f"{before}{colon}{', '.join(names)}"
    return event.target
