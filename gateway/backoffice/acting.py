"""What staff changes while acting as a customer: the account's own settings before and after, beside what was asked.

Nothing secret is among the facts, and nothing that moves by itself, as balances and last uses do.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from accounts.models import Account, ApiKey, Invitation, Membership, User
from billing.models import Wallet
from gateway.backoffice.actions import account_target, staff_action_record
from gateway.models import Collection, SharedLink, WebhookReceiver, WebhookSecret

_ACCOUNT = ("name", "time_zone", "retention_days", "parameters_in_pictures", "closed_at")
_WALLET = (
    "plan_code", "continue_from_funds", "spend_warn_microusd", "spend_limit_microusd", "low_balance_microusd",
)  # fmt: skip
_KEY = (
    "name", "scopes", "model_ids", "networks", "origins", "calls_per_minute", "calls_per_day", "queued_calls",
    "warn_microusd", "budget_microusd", "expires_at", "revoked_at",
)  # fmt: skip

Facts = dict[str, Any]


def account_facts(account: Account) -> Facts:
    """Each setting by its name: eight queries."""
    own = {"account_id": account.pk}
    tables = (
        ("account", Account.objects.filter(pk=account.pk), _ACCOUNT),
        ("wallet", Wallet.objects.filter(pk=account.pk), _WALLET),
        ("key", ApiKey.objects.filter(**own), _KEY),
        ("member", Membership.objects.filter(**own), ("user__email", "role")),
        ("invitation", Invitation.objects.filter(**own), ("email", "role")),
        ("webhook secret", WebhookSecret.objects.filter(**own), ("expires_at",)),
        ("webhook receiver", WebhookReceiver.objects.filter(**own), ("origin", "paused_at")),
        ("shared link", SharedLink.objects.filter(**own), ("generation_id", "revoked_at")),
        ("collection", Collection.objects.filter(**own), ("name",)),
    )
    return {
        f"{table} {row['pk']} {name}": _plain(row[name])
        for table, rows, names in tables
        for row in rows.values("pk", *names)
        for name in names
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def acting_asked(*, by: User, account: Account, asked: str, now: datetime) -> None:
    """Written before it is done: whatever comes of it was asked for."""
    staff_action_record(
        by=by, action="act as customer", target=account_target(account), after={"asked": asked}, now=now
    )


def acting_changed(*, by: User, account: Account, asked: str, before: Facts, now: datetime) -> bool:
    """What came of it, where a setting differs from `before`; False where none does."""
    after = account_facts(account)
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if not names:
        return False
    staff_action_record(
        by=by,
        action="changed as customer",
        target=account_target(account),
        before={name: before[name] for name in names if name in before},
        after={name: after[name] for name in names if name in after} | {"asked": asked},
        now=now,
    )
    return True
