"""The operator's console over ten million calls of the last 60 days: the first screen, usage, and the request log.

The roll-up has one row for ten calls, as busy accounts give it; the calls are of 200 accounts and 10 models. The ledger
has a movement of money for a hundred calls, besides the captures that no page of these reads.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from psycopg import Connection

from accounts.models import Account, User
from accounts.staff import StaffRole, staff_roles_set
from benchmarks.dashboards import seed
from benchmarks.dashboards.part import Cast, Page, Part
from billing.services import wallet_open
from billing.usage_days import house_fold
from gateway.ids import EPOCH_MS, generation_id_floor

DAYS, ACCOUNTS, MODELS, CALLS_PER_BUCKET = 60, 200, 10, 10
CALLS_PER_MOVEMENT = 100
CHUNK = 1_000_000
LOG_BUDGET_MS = 100

_ACCOUNTS = """
INSERT INTO accounts_account (public_id, name, time_zone, created_at, suspended_reason)
SELECT gen_random_uuid(), 'Customer ' || n, 'UTC', now() - n * interval '6 hours', ''
FROM generate_series(1, %(accounts)s) n
"""
# Ids as the gateway makes them (gateway.ids). Every twentieth call fails; the newest few wait.
_CALLS = """
INSERT INTO inference_generation (id, account_id, key_id, token, state, operation, endpoint, api_version, model_id,
    plan_code, unit_price_microusd, funding, weight, priority, images_requested, width_px, height_px,
    work_kilopixel_steps, spec, asked, reply, webhook_url, created_at, worker, attempt, started_at, step, steps,
    finished_at, images_delivered, charged_microusd, error_code, error_message)
SELECT ((extract(epoch FROM made) * 1000)::bigint - %(epoch_ms)s << 13) + n %% 8192,
    %(first)s + n %% %(accounts)s, 1 + n %% 400, md5(n::text),
    CASE WHEN n > %(rows)s - 40 THEN 'waiting' WHEN n %% 20 = 0 THEN 'failed' ELSE 'succeeded' END, 'text2img',
    'v7/images/text-to-image', 'v7', 'model-' || n %% %(models)s, 'payg', 4000, 'funds', 1, 0, 2, 512, 512, 5000,
    '{}', '{}', '{}', '', made, 'gpu-' || n %% 8, 1,
    made + interval '100 milliseconds', 0, 25, made + (2000 + n %% 900) * interval '1 millisecond', 2, 8000,
    CASE WHEN n %% 20 = 0 THEN 'out_of_memory' ELSE '' END, ''
FROM generate_series(%(from)s::bigint, %(to)s::bigint) n,
    LATERAL (SELECT %(start)s::timestamptz + (n * %(step_us)s) * interval '1 microsecond' AS made) AS moment
"""
_BUCKETS = """
INSERT INTO billing_usagebucket (bucket, account_id, key_id, model_id, endpoint, plan_code, source, status, size,
    calls, images, amount_microusd, list_price_microusd, wait_ms, run_ms, gpu_time_ms)
SELECT date_bin('15 minutes', now(), 'epoch') - (n %% %(quarters)s) * interval '15 minutes',
    %(first)s + mix %% %(accounts)s, 1 + mix %% 400, 'model-' || mix %% %(models)s, 'v7/images/text-to-image', 'payg',
    'funds', CASE WHEN mix %% 20 = 0 THEN 'failed' ELSE 'succeeded' END, '512x512', 10, 20, 80000, 80000, 1000, 20000,
    18000
FROM (SELECT n, (n / %(quarters)s) * 7 + n %% 11 AS mix FROM generate_series(0, %(rows)s - 1) n) AS numbered
ON CONFLICT DO NOTHING
"""
_MOVEMENTS = """
INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, images, created_at, note, sandbox)
SELECT %(first)s + n %% %(accounts)s, CASE WHEN n %% 40 = 0 THEN 'refund' ELSE 'top_up' END,
    CASE WHEN n %% 40 = 0 THEN -1000000 ELSE 1000000 END, 'bench:' || n, 0,
    %(start)s::timestamptz + n * (now() - %(start)s::timestamptz) / %(rows)s, '', false
FROM generate_series(1, %(rows)s) n
"""


def fill(connection: Connection, cast: Cast, rows: int) -> None:
    staff_roles_set(user=User.objects.get(email=cast.staff), roles=frozenset({StaffRole.OWNER}))
    connection.execute(_ACCOUNTS, {"accounts": ACCOUNTS})
    for account in Account.objects.filter(wallet=None):
        wallet_open(account=account, now=timezone.now(), plan_code="payg")
    newest = connection.execute("SELECT max(id) FROM accounts_account").fetchone()
    first = (newest[0] if newest else 0) - ACCOUNTS + 1
    start, step_us = timezone.now() - timedelta(days=DAYS), DAYS * 86_400 * 1_000_000 // rows
    shared = {"first": first, "accounts": ACCOUNTS, "models": MODELS, "epoch_ms": EPOCH_MS}
    for begin in range(1, rows + 1, CHUNK):
        span = {"from": begin, "to": min(begin + CHUNK - 1, rows), "rows": rows, "start": start, "step_us": step_us}
        connection.execute(_CALLS, shared | span)
    connection.execute(_BUCKETS, shared | {"rows": rows // CALLS_PER_BUCKET, "quarters": DAYS * 96})
    connection.execute(_MOVEMENTS, shared | {"rows": rows // CALLS_PER_MOVEMENT, "start": start})
    seed.analyse(connection, "billing_ledgerentry", "inference_generation", "billing_usagebucket", "accounts_account")
    # What the dispatcher sets off every quarter of an hour.
    house_fold(now=timezone.now())
    seed.analyse(connection, "billing_usagehouseday")


def pages(cast: Cast) -> list[Page]:
    middle = generation_id_floor(timezone.now() - timedelta(days=DAYS / 2))
    shown = (
        ("home", "/console"),
        ("usage, 24 hours", "/console/usage?range=24h"),
        ("usage, 7 days by account", "/console/usage?range=7d&group=account"),
        ("usage, 30 days by model", "/console/usage?range=30d&group=model&metric=money"),
        ("usage, 30 days by key", "/console/usage?range=30d&group=key"),
        ("log, newest", "/console/requests"),
        ("log, in the middle", f"/console/requests?before={middle}"),
        ("log, one account", "/console/requests?account=100"),
        ("log, failed", "/console/requests?state=failed"),
        ("log, nothing fits", "/console/requests?worker=nobody"),
        ("queue", "/console/queue"),
        ("customers", "/console/customers"),
        ("one customer", f"/console/customers/{cast.account_id + ACCOUNTS}"),
        ("render workers", "/console/workers"),
        ("models and prices", "/console/models"),
        ("revenue", "/console/revenue"),
        ("money", "/console/money"),
        ("payments", "/console/payments"),
    )
    return [
        Page(f"console, {name}", path, cast.staff, budget_ms=LOG_BUDGET_MS if name.startswith("log") else 200)
        for name, path in shown
    ]


PART = Part(name="console", rows=10_000_000, fill=fill, pages=pages)
