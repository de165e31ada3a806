"""Small helpers that fund accounts through the real services."""

from __future__ import annotations

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
