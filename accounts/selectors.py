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
    calls_per_minute: int | None
    queued_calls: int | None
    budget_microusd: int | None
    expires_at: datetime | None
    revoked_at: datetime | None
    suspended_reason: str | None


def key_by_lookup(lookup: str) -> KeyRecord | None:
    row = (
        ApiKey.objects.filter(lookup=lookup)
        .values_list(
            "id",
            "account_id",
            "digest",
            "environment",
            "scopes",
            "model_ids",
            "networks",
            "calls_per_minute",
            "queued_calls",
            "budget_microusd",
            "expires_at",
            "revoked_at",
            "account__suspended_at",
            "account__suspended_reason",
        )
        .first()
    )
    if row is None:
        return None
    *head, scopes, model_ids, networks = row[:7]
    suspended_reason = (row[13] or "contact the operator") if row[12] else None
    return KeyRecord(*head, tuple(scopes), tuple(model_ids), tuple(networks), *row[7:12], suspended_reason)


def accounts_of(user: User) -> QuerySet[Account]:
    return Account.objects.filter(memberships__user=user).order_by("id")


def membership_of(*, user: User, account_id: int) -> Membership | None:
    return Membership.objects.filter(user=user, account_id=account_id).select_related("account").first()


def keys_of(account: Account) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(account=account).order_by("-created_at")
