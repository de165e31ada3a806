"""The only writer of ledger entries and wallet balances. The invariants stand in docs/ledger.md.

Each function runs inside its caller's transaction, changes the cached balance and the rows behind it together, and
commits nothing.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F

from accounts.models import User
from billing.errors import LedgerConflict
from billing.guarded import Guard, Room
from billing.models import EntryKind, LedgerEntry, Wallet


def entry_post(
    *,
    account_id: int,
    kind: EntryKind,
    amount_microusd: int,
    op_key: str,
    now: datetime,
    reference: int | None = None,
    images: int = 0,
    release_held_microusd: int = 0,
    note: str = "",
    made_by: User | None = None,
) -> bool:
    """Post one entry and move the balance with it; False when `op_key` stands already.

    LedgerConflict when it stands with another amount: two different movements must never share a key.
    `release_held_microusd` is given back from the held amount by the same UPDATE (a capture ends its hold). Whatever is
    booked while the payment sandbox is in use is flagged so.
    """
    _require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, reference, images, created_at,"
            " note, made_by_id, sandbox) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (op_key) DO NOTHING",
            [
                account_id,
                kind.value,
                amount_microusd,
                op_key,
                reference,
                images,
                connection.ops.adapt_datetimefield_value(now),
                note,
                made_by.pk if made_by else None,
                settings.BILLING_PROVIDER == "sandbox",
            ],
        )
        if cursor.rowcount != 1:
            _require_same(op_key, amount_microusd)
            return False
    Wallet.objects.filter(pk=account_id).update(
        balance_microusd=F("balance_microusd") + amount_microusd,
        held_microusd=F("held_microusd") - release_held_microusd,
    )
    return True


def funds_guard(account_id: int, amount_microusd: int, room: Room | None = None) -> Guard:
    """Reserves from the available funds by one conditional UPDATE; nothing changes when they do not suffice, or when
    a spending limit (`room`) has none for it."""
    within = " AND (SELECT count(*) FROM room) = %s" if room else ""
    return Guard(
        "UPDATE billing_wallet SET held_microusd = held_microusd + %s"  # noqa: S608 - our own words alone
        f" WHERE account_id = %s AND balance_microusd - held_microusd >= %s AND NOT in_arrears{within}"
        " RETURNING account_id AS id",
        (amount_microusd, account_id, amount_microusd, *([room.rows] if room else [])),
        room,
    )


def postpaid_guard(account_id: int, amount_microusd: int, room: Room) -> Guard:
    """Reserves what is invoiced afterwards: `room` bounds the month, the wallet bounds the debt. At most two months'
    limits are ever owed, the running month and one whose invoice is being paid."""
    return Guard(
        "UPDATE billing_wallet SET held_microusd = held_microusd + %s"
        " WHERE account_id = %s AND balance_microusd - held_microusd + 2 * postpaid_limit_microusd >= %s"
        " AND NOT in_arrears AND (SELECT count(*) FROM room) = %s RETURNING account_id AS id",
        (amount_microusd, account_id, amount_microusd, room.rows),
        room,
    )


def held_give_back(*, account_id: int, amount_microusd: int) -> None:
    _require_transaction()
    Wallet.objects.filter(pk=account_id).update(held_microusd=F("held_microusd") - amount_microusd)


def _require_same(op_key: str, amount_microusd: int) -> None:
    posted = LedgerEntry.objects.values_list("amount_microusd", flat=True).get(op_key=op_key)
    if posted != amount_microusd:
        raise LedgerConflict(op_key=op_key, posted_microusd=posted, asked_microusd=amount_microusd)


def _require_transaction() -> None:
    if transaction.get_connection().get_autocommit():
        raise transaction.TransactionManagementError("The ledger writes only inside a transaction.")
