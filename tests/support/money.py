"""Small helpers that fund accounts through the real services."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.utils import timezone

from billing.models import Wallet
from billing.services import funds_grant, plan_assign


def fund(account: Any, amount_microusd: int) -> None:
    funds_grant(
        account_id=account.pk,
        amount_microusd=amount_microusd,
        op_key=uuid.uuid4().hex,
        now=timezone.now(),
        reason="test",
    )


def move_to(account: Any, plan_code: str) -> None:
    plan_assign(account_id=account.pk, plan_code=plan_code, now=timezone.now())


def wallet_of(account: Any) -> Wallet:
    return Wallet.objects.get(pk=account.pk)


def accounts_open(number: int, funds_microusd: int, overrides: dict[str, int]) -> None:
    """Pay-as-you-go accounts with funds; prints their ids and keys as JSON (a program's way to get them)."""
    from accounts.models import User
    from gateway.services import account_open

    opened = []
    for one in range(number):
        user = User.objects.create_user(f"account{one}@example.org")
        account, key = account_open(owner=user, now=timezone.now(), plan_code="payg")
        fund(account, funds_microusd)
        opened.append((account.pk, key.text))
    Wallet.objects.filter(pk__in=[pk for pk, _ in opened]).update(overrides=overrides)
    print(json.dumps(opened))
