"""Reads of people, accounts and keys. A selector that takes an account never returns a stranger's row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from accounts.models import Account, ApiKey, Membership, User


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """All that authentication asks of a key and its account, in one query."""

    key_id: int
    account_id: int
    digest: str
    environment: str
    scopes: tuple[str, ...]
    model_ids: tuple[str, ...]
    networks: tuple[str, ...]
    origins: tuple[str, ...]
    calls_per_minute: int | None
    calls_per_day: int | None
    queued_calls: int | None
    budget_microusd: int | None
    expires_at: datetime | None
    revoked_at: datetime | None
    suspended_reason: str | None
    parameters_in_pictures: bool


def key_by_lookup(lookup: str) -> KeyRecord | None:
    key = ApiKey.objects.select_related("account").filter(lookup=lookup).first()
    if key is None:
        return None
    account = key.account
    return KeyRecord(
        key_id=key.pk,
        account_id=account.pk,
        digest=key.digest,
        environment=key.environment,
        scopes=tuple(key.scopes),
        model_ids=tuple(key.model_ids),
        networks=tuple(key.networks),
        origins=tuple(key.origins or ()),
        calls_per_minute=key.calls_per_minute,
        calls_per_day=key.calls_per_day,
        queued_calls=key.queued_calls,
        budget_microusd=key.budget_microusd,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        suspended_reason=(account.suspended_reason or "contact the operator") if account.suspended_at else None,
        parameters_in_pictures=account.parameters_in_pictures,
    )


def accounts_of(user: User) -> QuerySet[Account]:
    return Account.objects.filter(memberships__user=user).order_by("id")


def membership_of(*, user: User, account_id: int) -> Membership | None:
    return Membership.objects.filter(user=user, account_id=account_id).select_related("account").first()


def keys_of(account: Account) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(account=account).order_by("-created_at")
