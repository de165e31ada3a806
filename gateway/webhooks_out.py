"""Outgoing webhooks."""

from __future__ import annotations

from datetime import datetime

from inference.models import Generation


def generation_webhook_queue(*, generation: Generation, now: datetime) -> None:
    """Called inside the settling transaction; does nothing for a generation without a webhook address."""


def webhook_send_due(now: datetime, limit: int) -> int:
    return 0


def webhooks_due(now: datetime) -> bool:
    return False
