"""Which price is in force for one image under a price code. Missing means refused, never free."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q

from billing.models import Price


def price_in_force(*, price_code: str, account_id: int | None, now: datetime) -> int | None:
    """Micro-dollars per image; an account's own price goes before everyone's. None when there is no price."""
    return (
        Price.objects.filter(Q(account_id=account_id) | Q(account_id=None), price_code=price_code)
        .filter(effective_from__lte=now)
        .order_by(F("account_id").desc(nulls_last=True), "-effective_from")
        .values_list("amount_microusd", flat=True)
        .first()
    )
