"""The checks that need both halves: each generation against its hold. With billing's own they prove the whole books."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from billing.audit import CHECKS, Check, Finding, audit_run
from gateway.models import AuditRun

PROVED_EVERY = timedelta(hours=24)

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


def audit_keep(*, now: datetime) -> AuditRun:
    """Prove the books and keep the result for the console."""
    began = time.perf_counter()
    findings = audit()
    kept = [[finding.check.name, [[str(cell) for cell in row] for row in finding.rows]] for finding in findings]
    return AuditRun.objects.create(
        ran_at=now,
        took_ms=int((time.perf_counter() - began) * 1000),
        differences=sum(len(finding.rows) for finding in findings),
        findings=kept,
    )


def audit_due(*, now: datetime) -> bool:
    return not AuditRun.objects.filter(ran_at__gt=now - PROVED_EVERY).exists()
