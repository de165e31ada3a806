"""When an account is in arrears: what was taken back exceeds what it has. The only writer of that flag.

Each function runs inside its caller's transaction.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import F

from billing import ledger
from billing.models import EntryKind, Wallet


def wallet_lock(account_id: int) -> Wallet:
    """The wallet, locked until the commit (SQLite has one writer anyway): money of one account moves in turn."""
    return Wallet.objects.select_for_update().get(pk=account_id)


def taken_back(
    *, account_id: int, kind: EntryKind, amount_microusd: int, op_key: str, now: datetime, note: str
) -> bool:
    """Book money that the provider has taken back, below zero where it must: then admission stops."""
    wallet = wallet_lock(account_id)
    if wallet.available_microusd < amount_microusd:
        Wallet.objects.filter(pk=account_id).update(in_arrears=True)
    booked = ledger.entry_post(
        account_id=account_id,
        kind=kind,
        amount_microusd=-amount_microusd,
        op_key=op_key,
        now=now,
        note=note,
    )
    arrears_review(account_id=account_id)
    return booked


def arrears_review(*, account_id: int) -> None:
    """Ends the arrears once the balance covers what is held."""
    Wallet.objects.filter(pk=account_id, in_arrears=True, balance_microusd__gte=F("held_microusd")).update(
        in_arrears=False
    )
