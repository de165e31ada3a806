"""Log-ins and changes of how somebody logs in, written into the record of every account that they belong to."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account_signals
from allauth.account.adapter import get_adapter
from allauth.mfa import signals as mfa_signals
from django.dispatch import Signal
from django.http import HttpRequest
from django.utils import timezone

from accounts.events import event_record
from accounts.models import Account, User

WATCHED: tuple[tuple[Signal, str], ...] = (
    (account_signals.user_logged_in, "logged in"),
    (account_signals.password_changed, "changed the own password"),
    (account_signals.password_reset, "reset the own password"),
    (mfa_signals.authenticator_added, "added a second factor"),
    (mfa_signals.authenticator_removed, "removed a second factor"),
    (mfa_signals.authenticator_reset, "made new recovery codes"),
)


def connect() -> None:
    """Called once, when the application is ready."""
    for signal, action in WATCHED:
        signal.connect(_receiver(action), dispatch_uid=f"account-event:{action}", weak=False)


def _receiver(action: str) -> Any:
    def record(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
        address = get_adapter().get_client_ip(request) or ""
        for account in Account.objects.filter(memberships__user=user):
            event_record(account=account, actor=user, action=action, address=address, now=timezone.now())

    return record
