"""The checks that need both halves: each generation against its hold. With billing's own they prove the whole books."""

from __future__ import annotations

from billing.audit import CHECKS, Check, Finding, audit_run

CROSS_CHECKS: tuple[Check, ...] = (
    Check(
        "every generation has its hold, open while it is unsettled and closed after",
        """
        SELECT g.id, g.state, h.state
        FROM inference_generation g LEFT JOIN billing_hold h ON h.reference = g.id
        WHERE h.reference IS NULL OR h.account_id <> g.account_id
            OR (g.state IN ('waiting', 'running')) <> (h.state = 'open')
        """,
    ),
    Check(
        "every open hold belongs to a generation",
        """
        SELECT h.reference, h.state FROM billing_hold h
        LEFT JOIN inference_generation g ON g.id = h.reference
        WHERE h.state = 'open' AND g.id IS NULL
        """,
    ),
    Check(
        "what a generation says it cost is what the ledger took",
        """
        SELECT g.id, g.charged_microusd, COALESCE(-e.amount_microusd, 0)
        FROM inference_generation g
        LEFT JOIN billing_ledgerentry e ON e.reference = g.id AND e.kind = 'capture'
        WHERE g.charged_microusd <> COALESCE(-e.amount_microusd, 0)
        """,
    ),
    Check(
        "failed and cancelled generations were released",
        """
        SELECT g.id, g.state, h.state FROM inference_generation g JOIN billing_hold h ON h.reference = g.id
        WHERE g.state IN ('failed', 'cancelled') AND h.state <> 'released'
        """,
    ),
)


def audit() -> list[Finding]:
    return audit_run([*CHECKS, *CROSS_CHECKS])
