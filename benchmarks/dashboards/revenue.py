"""The revenue page over three million charges of the last thirteen months, brought in by 50,000 payers.

The accounts signed up evenly over two years. Each call is one charge and one row of the roll-up, as accounts that call
now and then give it; a payer pays in every other month, and every fifth has a plan.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from psycopg import Connection

from accounts.models import User
from accounts.staff import StaffRole, staff_roles_set
from benchmarks.dashboards import seed
from benchmarks.dashboards.part import Cast, Page, Part
from billing.revenue_months import months_fold
from billing.usage_days import house_fold

PAYERS, DAYS, SIGN_UP_DAYS, MODELS = 50_000, 395, 730, 10
CHUNK = 500_000

_ACCOUNTS = """
WITH made AS (
    INSERT INTO accounts_account (public_id, name, time_zone, created_at, suspended_reason)
    SELECT gen_random_uuid(), 'Payer ' || n, 'UTC', %(now)s - n * %(sign_up_days)s * interval '1 day' / %(payers)s, ''
    FROM generate_series(1, %(payers)s) n RETURNING id
)
INSERT INTO billing_wallet (account_id, plan_code, balance_microusd, held_microusd, continue_from_funds, overrides,
    in_arrears, subscribed, created_at)
SELECT id, 'payg', 5000000, 0, false, '{}', false, false, %(now)s FROM made RETURNING account_id
"""
# One charge every few seconds, by one payer after the other.
_CHARGES = """
WITH calls AS (
    SELECT n, %(first)s + n * 7919 %% %(payers)s AS account_id,
        %(start)s + n * (%(now)s - %(start)s) / %(rows)s AS made
    FROM generate_series(%(from)s::bigint, %(to)s::bigint) n
), charged AS (
    INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, reference, images, created_at, note,
        sandbox)
    SELECT account_id, 'capture', -4000, 'capture:bench-' || n, n, 1, made, '', false FROM calls
)
INSERT INTO billing_usagebucket (bucket, account_id, key_id, model_id, endpoint, plan_code, source, status, size,
    calls, images, amount_microusd, list_price_microusd, wait_ms, run_ms, gpu_time_ms)
SELECT date_bin('15 minutes', made, 'epoch'), account_id, account_id, 'model-' || n %% %(models)s,
    'v7/images/text-to-image', 'payg', 'funds', 'succeeded', '512x512', 1, 1, 4000, 4000, 120, 2400, 2200
FROM calls ON CONFLICT DO NOTHING
"""
_MOVEMENTS = """
INSERT INTO billing_ledgerentry (wallet_id, kind, amount_microusd, op_key, images, created_at, note, sandbox)
SELECT %(first)s + n %% %(payers)s, CASE WHEN n %% 40 = 0 THEN 'refund' ELSE 'top_up' END,
    CASE WHEN n %% 40 = 0 THEN -5000000 ELSE 5000000 END, 'bench-revenue:' || n, 0,
    %(start)s + n * (%(now)s - %(start)s) / %(rows)s, '', false
FROM generate_series(1, %(rows)s) n
"""
_SUBSCRIPTIONS = """
WITH price AS (
    INSERT INTO billing_stripeprice (stripe_id, product_id, mode, plan_code, amount_cents, current)
    VALUES ('price_bench', 'product_bench', 'live', 'standard', 4700, false)
)
INSERT INTO billing_subscription (stripe_id, account_id, mode, status, price_id, plan_code, ends_at, created_at)
SELECT 'sub_bench_' || n, %(first)s + n * 5, 'live', CASE WHEN n %% 4 = 0 THEN 'canceled' ELSE 'active' END,
    'price_bench', 'standard', CASE WHEN n %% 4 = 0 THEN begun + (%(now)s - begun) / 2 END, begun
FROM (SELECT n, %(now)s - n * interval '1 hour' AS begun FROM generate_series(1, %(payers)s / 5 - 1) n) AS subscribed
"""
_PLANS = """
INSERT INTO billing_planpayment (stripe_id, account_id, mode, plan_code, amount_cents, paid_at)
SELECT 'in_bench_' || account_id || '_' || n, account_id, 'live', 'standard', 4700, created_at + n * interval '30 days'
FROM billing_subscription, generate_series(0, 12) n
WHERE stripe_id LIKE 'sub_bench_%%' AND created_at + n * interval '30 days' < COALESCE(ends_at, %(now)s)
"""
# What `plan_paid` adds for each of those invoices.
_PLAN_MONTHS = """
INSERT INTO billing_accountmonth (account_id, month, signed_up, charged_microusd, plans_microusd)
SELECT account_id, extract(year FROM paid_at) * 12 + extract(month FROM paid_at) - 1,
    min(extract(year FROM created_at) * 12 + extract(month FROM created_at) - 1), 0, sum(amount_cents) * 10000
FROM billing_planpayment JOIN accounts_account ON accounts_account.id = account_id
WHERE stripe_id LIKE 'in_bench_%' GROUP BY 1, 2
ON CONFLICT (account_id, month) DO UPDATE SET plans_microusd = excluded.plans_microusd
"""


def fill(connection: Connection, cast: Cast, rows: int) -> None:
    staff_roles_set(user=User.objects.get(email=cast.staff), roles=frozenset({StaffRole.OWNER}))
    now = timezone.now()
    shared = {"payers": PAYERS, "now": now, "start": now - timedelta(days=DAYS), "models": MODELS}
    made = connection.execute(_ACCOUNTS, shared | {"sign_up_days": SIGN_UP_DAYS}).fetchall()
    shared["first"] = min(account_id for (account_id,) in made)
    for begin in range(1, rows + 1, CHUNK):
        connection.execute(_CHARGES, shared | {"from": begin, "to": min(begin + CHUNK - 1, rows), "rows": rows})
    connection.execute(_MOVEMENTS, shared | {"rows": PAYERS * DAYS // 61})
    connection.execute(_SUBSCRIPTIONS, shared)
    connection.execute(_PLANS, shared)
    # Days that another part folded are folded again, with these charges.
    connection.execute("TRUNCATE billing_usagehouseday, billing_accountmonth")
    seed.analyse(connection, "accounts_account", "billing_wallet", "billing_ledgerentry", "billing_usagebucket")
    # What the dispatcher sets off every quarter of an hour.
    house_fold(now=now)
    connection.execute(_PLAN_MONTHS)
    seed.analyse(connection, "billing_usagehouseday", "billing_accountmonth", "billing_planpayment")
    months_fold(now=now)
    seed.analyse(connection, "billing_revenuemonth", "billing_cohortmonth", "billing_payer", "billing_subscription")


def pages(cast: Cast) -> list[Page]:
    return [
        Page("revenue", "/console/revenue", cast.staff),
        Page("revenue, months as CSV", "/console/revenue/months.csv", cast.staff),
    ]


PART = Part(name="revenue", rows=3_000_000, fill=fill, pages=pages)
