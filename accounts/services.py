"""What changes people, accounts and keys. Helpers commit nothing themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts import keys
from accounts.events import event_record
from accounts.models import Account, ApiKey, Membership, Role, User


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment at which its text is known."""

    api_key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"NewKey({self.api_key.display})"


@transaction.atomic
def account_create(*, owner: User, name: str = "", now: datetime) -> Account:
    """An account with its owner. Its wallet is billing's to open (gateway.services does both)."""
    account = Account.objects.create(name=name or owner.email.split("@")[0], created_at=now)
    Membership.objects.create(account=account, user=owner, role=Role.OWNER, created_at=now)
    return account


@transaction.atomic
def key_create(
    *,
    account: Account,
    name: str,
    now: datetime,
    created_by: User | None = None,
    environment: str = "live",
    expires_at: datetime | None = None,
    scopes: tuple[str, ...] = (),
    model_ids: tuple[str, ...] = (),
    networks: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    calls_per_minute: int | None = None,
    calls_per_day: int | None = None,
    queued_calls: int | None = None,
    budget_microusd: int | None = None,
    warn_microusd: int | None = None,
    rolled_from: ApiKey | None = None,
    address: str = "",
    through: str = "",
) -> NewKey:
    """A key with its restrictions. For the record: `address` is where the person sits who makes it, `through` the key
    that makes it where no person does."""
    minted = keys.mint(prefix=settings.API_KEY_PREFIX, environment=environment)
    api_key = ApiKey.objects.create(
        account=account,
        created_by=created_by,
        name=name,
        prefix=settings.API_KEY_PREFIX,
        environment=environment,
        lookup=minted.lookup,
        digest=keys.digest(minted.text, pepper=settings.API_KEY_PEPPER),
        last4=minted.last4,
        scopes=list(scopes),
        model_ids=list(model_ids),
        networks=list(networks),
        origins=list(origins) or None,
        calls_per_minute=calls_per_minute,
        calls_per_day=calls_per_day,
        queued_calls=queued_calls,
        budget_microusd=budget_microusd,
        warn_microusd=warn_microusd,
        created_at=now,
        expires_at=expires_at,
        rolled_from=rolled_from,
    )
    action = "rolled the key" if rolled_from else "made the key"
    target = _target(api_key, through)
    event_record(account=account, actor=created_by, action=action, target=target, address=address, now=now)
    return NewKey(api_key=api_key, text=minted.text)


@transaction.atomic
def key_change(
    *,
    api_key: ApiKey,
    changes: dict[str, object],
    now: datetime,
    by: User | None = None,
    address: str = "",
    through: str = "",
) -> bool:
    """Other restrictions or another name for a key in use; False when nothing differs or it is revoked.

    `changes` names columns of the key; its text and its expiry stay (rolling and revoking are for those).
    """
    differ = {name: value for name, value in changes.items() if getattr(api_key, name) != value}
    if not differ or not ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(**differ):
        return False
    names = ", ".join(differ).replace("_microusd", "").replace("_", " ")
    target = f"{_target(api_key, through)}: {names}"
    event_record(account=api_key.account, actor=by, action="changed the key", target=target, address=address, now=now)
    return True


@transaction.atomic
def key_roll(*, api_key: ApiKey, grace: timedelta, now: datetime, by: User | None = None, address: str = "") -> NewKey:
    """A successor with the same restrictions; the old key works until the grace has passed."""
    successor = key_create(
        account=api_key.account,
        name=api_key.name,
        now=now,
        created_by=by,
        environment=api_key.environment,
        scopes=tuple(api_key.scopes),
        model_ids=tuple(api_key.model_ids),
        networks=tuple(api_key.networks),
        origins=tuple(api_key.origins or ()),
        calls_per_minute=api_key.calls_per_minute,
        calls_per_day=api_key.calls_per_day,
        queued_calls=api_key.queued_calls,
        budget_microusd=api_key.budget_microusd,
        warn_microusd=api_key.warn_microusd,
        rolled_from=api_key,
        address=address,
    )
    end = now + grace
    ApiKey.objects.filter(pk=api_key.pk).update(expires_at=min(end, api_key.expires_at or end))
    return successor


@transaction.atomic
def key_revoke(
    *,
    api_key: ApiKey,
    now: datetime,
    by: User | None = None,
    address: str = "",
    action: str = "revoked the key",
    through: str = "",
) -> bool:
    """Whether this call revoked it: a second revocation keeps the first one's time."""
    if not ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=now):
        return False
    target = _target(api_key, through)
    event_record(account=api_key.account, actor=by, action=action, target=target, address=address, now=now)
    return True


def _target(api_key: ApiKey, through: str) -> str:
    """The key, and which other key did it over the API, where no person did."""
    return f"{api_key}, with {through}" if through else str(api_key)


def account_suspend(*, account: Account, reason: str, now: datetime) -> None:
    Account.objects.filter(pk=account.pk).update(suspended_at=now, suspended_reason=reason)


def account_resume(*, account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(suspended_at=None, suspended_reason="")
