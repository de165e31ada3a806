"""Fills the tables that every call writes, so that a call can be measured when they are large."""

from __future__ import annotations

import psycopg

# History of accounts that no longer call: it makes the tables and their indexes large and the books stay in balance.
STATEMENTS = (
    """
    INSERT INTO billing_hold (reference, account_id, source, state, unit_price_microusd, images_held, images_captured,
        created_at)
    SELECT n, (SELECT min(account_id) FROM billing_wallet), 'funds', 'captured', 2000, 1, 1,
        now() - n * interval '1 second'
    FROM generate_series(1, %(rows)s) n
    """,
    """
    INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, reference, images, created_at, note,
        sandbox)
    SELECT (SELECT min(account_id) FROM billing_wallet), 'capture', -2000, 'capture:' || n, n, 1,
        now() - n * interval '1 second', '', false
    FROM generate_series(1, %(rows)s) n
    """,
    "ANALYZE billing_hold, billing_ledgerentry",
)


def fill(database_url: str, rows: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in STATEMENTS:
            connection.execute(statement, {"rows": rows} if "%(" in statement else None)
        connection.execute("CHECKPOINT")
