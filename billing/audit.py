"""The proof of the books in SQL: each check selects the rows that contradict each other, and should select none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from billing.revenue import month_sql

ROWS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Check:
    """`sql` selects differences: an identifier first, then what contradicts what."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Finding:
    check: Check
    rows: list[tuple[Any, ...]]

    @property
    def passed(self) -> bool:
        return not self.rows


CHECKS: tuple[Check, ...] = (
    Check(
        "every balance is the sum of its entries",
        """
        SELECT w.account_id, w.balance_microusd, COALESCE(e.total, 0)
        FROM billing_wallet w
        LEFT JOIN (SELECT wallet_id, SUM(amount_microusd) AS total FROM billing_ledgerentry GROUP BY wallet_id) e
            ON e.wallet_id = w.account_id
        WHERE w.balance_microusd <> COALESCE(e.total, 0)
        """,
    ),
    Check(
        "what is held is the sum of the open holds on money",
        """
        SELECT w.account_id, w.held_microusd, COALESCE(h.total, 0)
        FROM billing_wallet w
        LEFT JOIN (
            SELECT account_id, SUM(unit_price_microusd * images_held) AS total
            FROM billing_hold WHERE state = 'open' AND source IN ('funds', 'postpaid') GROUP BY account_id
        ) h ON h.account_id = w.account_id
        WHERE w.held_microusd <> COALESCE(h.total, 0)
        """,
    ),
    Check(
        "no wallet is overspent outside arrears and post-paid use",
        "SELECT account_id, balance_microusd, held_microusd FROM billing_wallet"
        " WHERE balance_microusd < held_microusd AND NOT in_arrears AND postpaid_limit_microusd IS NULL",
    ),
    Check(
        "every capture from funds has one entry of its price and images",
        """
        SELECT h.reference, h.unit_price_microusd * h.images_captured, e.amount_microusd
        FROM billing_hold h
        LEFT JOIN billing_ledgerentry e ON e.op_key = 'capture:' || CAST(h.reference AS VARCHAR(20))
        WHERE h.source IN ('funds', 'postpaid') AND h.state = 'captured' AND (
            e.id IS NULL OR e.amount_microusd <> -h.unit_price_microusd * h.images_captured
            OR e.images <> h.images_captured OR e.wallet_id <> h.account_id
        )
        """,
    ),
    Check(
        "every capture entry has its captured hold",
        """
        SELECT e.id, e.op_key, h.state
        FROM billing_ledgerentry e
        LEFT JOIN billing_hold h ON h.reference = e.reference
        WHERE e.kind = 'capture' AND (h.reference IS NULL OR h.state <> 'captured'
            OR h.source NOT IN ('funds', 'postpaid'))
        """,
    ),
    Check(
        "free calls counted are the holds that used them",
        """
        SELECT d.account_id, d.day, d.calls, COALESCE(h.calls, 0)
        FROM billing_usageday d
        LEFT JOIN (
            SELECT account_id, day, COUNT(*) AS calls
            FROM billing_hold WHERE source = 'free_day' AND state <> 'released' GROUP BY account_id, day
        ) h ON h.account_id = d.account_id AND h.day = d.day
        WHERE d.calls <> COALESCE(h.calls, 0)
        """,
    ),
    Check(
        "allowance calls counted are the holds that used them",
        """
        SELECT a.id, a.calls_used, COALESCE(h.calls, 0)
        FROM billing_allowance a
        LEFT JOIN (
            SELECT allowance_id, COUNT(*) AS calls
            FROM billing_hold WHERE source = 'allowance' AND state <> 'released' GROUP BY allowance_id
        ) h ON h.allowance_id = a.id
        WHERE a.calls_used <> COALESCE(h.calls, 0)
        """,
    ),
    Check(
        "spending counters are the holds that stand in them",
        """
        SELECT m.id, m.counted_microusd, COALESCE(h.total, 0)
        FROM billing_spendmonth m
        LEFT JOIN (
            SELECT c.id, SUM(h.unit_price_microusd
                * CASE WHEN h.state = 'open' THEN h.images_held ELSE h.images_captured END) AS total
            FROM billing_spendmonth c
            JOIN billing_hold h ON h.account_id = c.account_id AND h.spend_scopes > 0 AND h.state <> 'released'
                AND ((c.key_id = 0 AND h.spend_scopes IN (1, 3, 5, 7))
                    OR (c.key_id = h.key_id AND h.spend_scopes IN (2, 3, 6, 7))
                    OR (c.key_id = -1 AND h.spend_scopes > 3))
                AND SUBSTR(CAST(h.created_at AS VARCHAR(40)), 1, 7) = SUBSTR(CAST(c.month AS VARCHAR(10)), 1, 7)
            GROUP BY c.id
        ) h ON h.id = m.id
        WHERE m.counted_microusd <> COALESCE(h.total, 0)
        """,
    ),
    Check(
        "every paid top-up has its one credit, of its amount",
        """
        SELECT t.public_id, t.state, t.amount_cents, e.amount_microusd
        FROM billing_topup t LEFT JOIN billing_ledgerentry e ON e.op_key = 'topup:' || t.public_id
        WHERE (t.state = 'paid') <> (e.id IS NOT NULL)
            OR (e.id IS NOT NULL AND e.amount_microusd <> CAST(t.amount_cents AS BIGINT) * 10000)
        """,
    ),
    Check(
        "every refund is debited, and credited back only if it failed",
        """
        SELECT r.public_id, r.state, e.amount_microusd, b.amount_microusd
        FROM billing_refund r
        LEFT JOIN billing_ledgerentry e ON e.op_key = 'refund:' || r.public_id
        LEFT JOIN billing_ledgerentry b ON b.op_key = 'refund_reversed:' || r.public_id
        WHERE e.id IS NULL OR e.amount_microusd <> -CAST(r.amount_cents AS BIGINT) * 10000
            OR (r.state = 'failed') <> (b.id IS NOT NULL)
        """,
    ),
    Check(
        "every dispute of a top-up is booked, and restored only if it was won",
        """
        SELECT d.stripe_id, d.status, e.amount_microusd, b.amount_microusd
        FROM billing_dispute d
        LEFT JOIN billing_ledgerentry e ON e.op_key = 'dispute:' || d.stripe_id
        LEFT JOIN billing_ledgerentry b ON b.op_key = 'dispute_won:' || d.stripe_id
        WHERE d.top_up_id IS NOT NULL AND (e.id IS NULL
            OR e.amount_microusd <> -CAST(d.amount_cents AS BIGINT) * 10000 OR d.restored <> (b.id IS NOT NULL))
        """,
    ),
    Check(
        "every exported charge is a capture of the ledger",
        """
        SELECT x.op_key, x.value_microusd, e.amount_microusd
        FROM billing_usageexport x LEFT JOIN billing_ledgerentry e ON e.op_key = x.op_key
        WHERE e.id IS NULL OR e.amount_microusd <> -x.value_microusd OR e.wallet_id <> x.account_id
        """,
    ),
    Check(
        "usage buckets add up to the captures",
        """
        SELECT w.account_id, COALESCE(u.total, 0), COALESCE(e.total, 0)
        FROM billing_wallet w
        LEFT JOIN (SELECT account_id, SUM(amount_microusd) AS total FROM billing_usagebucket GROUP BY account_id) u
            ON u.account_id = w.account_id
        LEFT JOIN (
            SELECT wallet_id, -SUM(amount_microusd) AS total
            FROM billing_ledgerentry WHERE kind = 'capture' GROUP BY wallet_id
        ) e ON e.wallet_id = w.account_id
        WHERE COALESCE(u.total, 0) <> COALESCE(e.total, 0)
        """,
    ),
    Check(
        "folded months are the sums of the ledger and of paid plans",
        f"""
        SELECT m.month, m.paid_in_microusd, e.paid_in, m.given_microusd, e.given, m.returned_microusd, e.returned,
            c.charged, e.charged, c.plans, p.plans
        FROM billing_revenuemonth m
        LEFT JOIN (
            SELECT month, SUM(charged_microusd) AS charged, SUM(plans_microusd) AS plans
            FROM billing_cohortmonth GROUP BY month
        ) c ON c.month = m.month
        LEFT JOIN (
            SELECT {month_sql("created_at")} AS month,
                SUM(CASE WHEN kind IN ('top_up', 'invoice') THEN amount_microusd ELSE 0 END) AS paid_in,
                SUM(CASE WHEN kind IN ('grant', 'adjustment') THEN amount_microusd ELSE 0 END) AS given,
                -SUM(CASE WHEN kind = 'capture' THEN amount_microusd ELSE 0 END) AS charged,
                SUM(CASE WHEN kind IN ('top_up', 'invoice', 'grant', 'adjustment', 'capture') THEN 0
                    ELSE amount_microusd END) AS returned
            FROM billing_ledgerentry GROUP BY 1
        ) e ON e.month = m.month
        LEFT JOIN (
            SELECT {month_sql("paid_at")} AS month, SUM(amount_cents) * 10000 AS plans
            FROM billing_planpayment GROUP BY 1
        ) p ON p.month = m.month
        WHERE m.folded AND (m.paid_in_microusd <> COALESCE(e.paid_in, 0) OR m.given_microusd <> COALESCE(e.given, 0)
            OR m.returned_microusd <> COALESCE(e.returned, 0) OR COALESCE(c.charged, 0) <> COALESCE(e.charged, 0)
            OR COALESCE(c.plans, 0) <> COALESCE(p.plans, 0))
        """,  # noqa: S608 - our own words alone
    ),
)


def audit_run(checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Every check with the first contradicting rows. Reads only; sums are exact because amounts are integers."""
    findings = []
    with connection.cursor() as cursor:
        for check in checks:
            # Apart, as PostgreSQL would else plan for the first few rows, which a check that passes never has: sums in
            # the order of an index, many times as slow as all of the table at once.
            cursor.execute(f"WITH found AS MATERIALIZED ({check.sql}) SELECT * FROM found LIMIT {ROWS_SHOWN}")  # noqa: S608
            findings.append(Finding(check, cursor.fetchall()))
    return findings
