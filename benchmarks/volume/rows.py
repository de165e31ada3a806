"""Fills the tables that every call writes, so that a call can be measured when they are large."""

from __future__ import annotations

import psycopg

# History of accounts that no longer call: it makes the tables and their indexes large and the books stay in balance.
STATEMENTS = (
    """
    INSERT INTO billing_hold (reference, account_id, source, state, unit_price_microusd, images_held, images_captured,
        key_id, created_at)
    SELECT n, (SELECT min(account_id) FROM billing_wallet), 'funds', 'captured', 2000, 1, 1,
        (SELECT min(id) FROM accounts_apikey), now() - n * interval '1 second'
    FROM generate_series(1, %(rows)s) n
    """,
    """
    INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, reference, images, created_at, note,
        sandbox)
    SELECT (SELECT min(account_id) FROM billing_wallet), 'capture', -2000, 'capture:' || n, n, 1,
        now() - n * interval '1 second', '', false
    FROM generate_series(1, %(rows)s) n
    """,
    "VACUUM ANALYZE billing_hold, billing_ledgerentry",
    "CHECKPOINT",
)
TABLES = ("billing_hold", "billing_ledgerentry")


def fill(database_url: str, rows: int) -> dict[str, float]:
    """Bytes of one row with its indexes, by table, once `rows` of them are there."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in STATEMENTS:
            connection.execute(statement, {"rows": rows} if "%(" in statement else None)
        return {table: _bytes_per_row(connection, table) for table in TABLES}


def _bytes_per_row(connection: psycopg.Connection, table: str) -> float:
    found = connection.execute(
        f"SELECT pg_total_relation_size('{table}')::float8 / (SELECT count(*) FROM {table})"
    ).fetchone()
    assert found is not None
    size: float = found[0]
    return size
