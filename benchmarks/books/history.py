"""A long history in the books, written straight into the tables and consistent to the micro-dollar.

Run as a program it fills the database of its environment: `python -m benchmarks.books.history 1000000`.
"""

from __future__ import annotations

import sys

from django.db import connection, transaction

ACCOUNTS = 1_000
DAYS = 60
PRICE_MICROUSD = 4_700
# Of a hundred calls: from funds and delivered, from funds and failed, from the day's free calls. Four images at most.
STATEMENTS = (
    """
    INSERT INTO accounts_account (id, public_id, name, time_zone, suspended_reason, created_at)
    SELECT n, {uuid}, 'account ' || n, 'UTC', '', {start} FROM {accounts}
    """,
    """
    INSERT INTO billing_wallet (account_id, plan_code, balance_microusd, held_microusd, continue_from_funds, overrides,
        in_arrears, subscribed, created_at)
    SELECT n, 'payg', 0, 0, {false}, '{{}}', {false}, {false}, {start} FROM {accounts}
    """,
    """
    INSERT INTO billing_topup (id, public_id, account_id, mode, origin, amount_cents, currency, state, problem,
        created_at, paid_at)
    SELECT n, 'topup' || n, n, 'live', 'checkout', 1000000, 'usd', 'paid', '', {start}, {start} FROM {accounts}
    """,
    """
    INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, images, created_at, note, sandbox)
    SELECT n, 'top_up', 10000000000, 'topup:topup' || n, 0, {start}, '', {false} FROM {accounts}
    """,
    """
    INSERT INTO billing_hold (reference, account_id, source, state, unit_price_microusd, images_held, images_captured,
        day, key_id, spend_scopes, created_at)
    SELECT n, 1 + n % {account_count}, CASE WHEN n % 10 = 9 THEN 'free_day' ELSE 'funds' END,
        CASE WHEN n % 50 = 7 THEN 'released' ELSE 'captured' END, {price}, 1 + n % 4,
        CASE WHEN n % 50 = 7 THEN 0 ELSE 1 + n % 4 END, CASE WHEN n % 10 = 9 THEN {day} END, 1, 0, {moment}
    FROM {calls}
    """,
    """
    INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, reference, images, created_at, note,
        sandbox)
    SELECT account_id, 'capture', -unit_price_microusd * images_captured, 'capture:' || reference, reference,
        images_captured, created_at, '', {false}
    FROM billing_hold WHERE source = 'funds' AND state = 'captured'
    """,
    """
    INSERT INTO inference_generation (id, account_id, key_id, token, state, operation, endpoint, api_version, model_id,
        plan_code, unit_price_microusd, funding, weight, priority, images_requested, width_px, height_px,
        work_kilopixel_steps, spec, asked, reply, webhook_url, created_at, worker, attempt, step, steps, finished_at,
        images_delivered, charged_microusd, error_code, error_message)
    SELECT reference, account_id, key_id, 'token', CASE WHEN state = 'released' THEN 'failed' ELSE 'succeeded' END,
        'text2img', 'text-to-image', 'v7', 'demo', 'payg', unit_price_microusd, source, 1, 0, images_held, 512, 512,
        5242, '{{}}', '{{}}', '{{}}', '', created_at, 'render', 1, 20, 20, created_at, images_captured,
        CASE WHEN source = 'funds' THEN unit_price_microusd * images_captured ELSE 0 END, '', ''
    FROM billing_hold
    """,
    """
    INSERT INTO billing_usageday (account_id, day, calls)
    SELECT account_id, day, COUNT(*) FROM billing_hold
    WHERE source = 'free_day' AND state <> 'released' GROUP BY account_id, day
    """,
    """
    INSERT INTO billing_usagebucket (bucket, account_id, key_id, model_id, endpoint, plan_code, source, status, size,
        calls, images, amount_microusd, list_price_microusd, wait_ms, run_ms, gpu_time_ms)
    SELECT created_at, account_id, 1, 'demo', 'text-to-image', 'payg', source, 'succeeded', '512x512', COUNT(*),
        SUM(images_captured), SUM(CASE WHEN source = 'funds' THEN unit_price_microusd * images_captured ELSE 0 END),
        SUM(unit_price_microusd * images_captured), 0, 0, 0
    FROM billing_hold WHERE state = 'captured' GROUP BY created_at, account_id, source
    """,
    """
    UPDATE billing_wallet SET balance_microusd =
        (SELECT SUM(e.amount_microusd) FROM billing_ledgerentry e WHERE e.wallet_id = billing_wallet.account_id)
    """,
)
SERIES = {
    "postgresql": "generate_series({first}, {last}) n",
    "sqlite": "(WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last})"
    " SELECT n FROM s) s",
}
# Each quarter of an hour has the calls of every account in turn, so that the roll-up has fewer rows than the holds.
MOMENTS = {
    "postgresql": {
        "uuid": "gen_random_uuid()",
        "moment": "timestamptz '2026-01-01' + ((n / 1000 / 7) % 5760) * interval '15 minutes'",
        "day": "date '2026-01-01' + CAST((n / 1000 / 7) % 5760 / 96 AS int)",
    },
    "sqlite": {
        "uuid": "lower(hex(randomblob(16)))",
        "moment": "datetime('2026-01-01', (((n / 1000 / 7) % 5760) * 15) || ' minutes')",
        "day": "date('2026-01-01', (((n / 1000 / 7) % 5760) / 96) || ' days')",
    },
}


def fill(entries: int) -> int:
    """About this many ledger entries; how many there are."""
    vendor = connection.vendor
    series = SERIES[vendor]
    calls = (entries - ACCOUNTS) * 50 // 44  # of 50 calls 44 are captured from funds
    words = {
        "accounts": series.format(first=1, last=ACCOUNTS),
        "calls": series.format(first=1, last=calls),
        "account_count": ACCOUNTS,
        "price": PRICE_MICROUSD,
        "start": "timestamptz '2026-01-01'" if vendor == "postgresql" else "'2026-01-01 00:00:00'",
        "false": "false" if vendor == "postgresql" else "0",
        **MOMENTS[vendor],
    }
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement.format(**words))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute("SELECT COUNT(*) FROM billing_ledgerentry")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    import django

    django.setup()
    print(fill(int(sys.argv[1])))
