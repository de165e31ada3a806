"""Opening an account: its owner, its wallet, its first key."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from accounts.models import Account, User
from accounts.services import NewKey, account_create, key_create
from billing.services import plan_assign, wallet_open


@transaction.atomic
def account_open(
    *, owner: User, now: datetime, name: str = "", plan_code: str = "free", key_name: str = "Default"
) -> tuple[Account, NewKey]:
    """An account that can be used at once, and the only sight of its first key."""
    account = account_create(owner=owner, name=name, now=now)
    wallet_open(account=account, now=now)
    plan_assign(account_id=account.pk, plan_code=plan_code, now=now)
    return account, key_create(account=account, name=key_name, now=now, created_by=owner)
