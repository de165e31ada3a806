"""Statements that fill the large tables on the server itself: a million rows in seconds, the same ones every time."""

from __future__ import annotations

from psycopg import Connection, sql

MODELS = 40
KEYS = 12
_CHUNK = 1_000_000

# Quarters of an hour, the newest first; in each of them the same mix of keys, models, sizes and outcomes.
_USAGE = """
INSERT INTO billing_usagebucket (bucket, account_id, key_id, model_id, endpoint, plan_code, source, status, size,
    calls, images, amount_microusd, list_price_microusd, wait_ms, run_ms, gpu_time_ms)
SELECT date_bin('15 minutes', now(), 'epoch') - (n %% %(quarters)s) * interval '15 minutes',
    %(first_account)s + n %% %(accounts)s, 1 + mix %% {keys}, 'model-' || mix %% {models},
    (ARRAY['v7/images/text-to-image', 'v6/images/text2img', 'v6/images/img2img'])[1 + mix %% 3], 'payg',
    (ARRAY['funds', 'free_day'])[1 + mix / 480 %% 2], CASE WHEN mix %% 29 = 0 THEN 'failed' ELSE 'succeeded' END,
    (ARRAY['512x512', '768x768', '1024x1024', '512x768'])[1 + mix / 7 %% 4],
    3, CASE WHEN mix %% 29 = 0 THEN 0 ELSE 4 END, CASE WHEN mix %% 29 = 0 OR mix / 480 %% 2 = 1 THEN 0 ELSE 8000 END,
    CASE WHEN mix %% 29 = 0 THEN 0 ELSE 8000 END, 120, 2400, 2200
FROM (SELECT n, n / %(quarters)s AS mix FROM generate_series(%(from)s::bigint, %(to)s::bigint) n) AS numbered
ON CONFLICT DO NOTHING
"""


def usage(connection: Connection, *, rows: int, days: int, first_account: int, accounts: int = 1) -> None:
    """`rows` usage buckets over the last `days` days, shared evenly by `accounts` accounts from `first_account` on."""
    statement = sql.SQL(_USAGE).format(keys=sql.Literal(KEYS), models=sql.Literal(MODELS))
    values = {"quarters": days * 96, "first_account": first_account, "accounts": accounts}
    for start in range(0, rows, _CHUNK):
        connection.execute(statement, values | {"from": start, "to": min(start + _CHUNK, rows) - 1})
    analyse(connection, "billing_usagebucket")


def analyse(connection: Connection, *tables: str) -> None:
    """What autovacuum would have done by the time that such tables have grown: statistics and the visibility map."""
    for table in tables:
        connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(table)))
