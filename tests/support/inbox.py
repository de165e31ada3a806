"""Several processes that bring the inbox of Stripe's messages up to date at the same moment.

A mistake makes it a negative control.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Any

from tests.support.siblings import Start, siblings, siblings_run

NO_TURNS, NO_KEYS = "no turns", "no turns and no keys"


def inbox_rush(*, processes: int = 8, mistake: str = "") -> list[int]:
    """How many messages each process ended."""
    ended: list[int] = siblings("tests.support.inbox", {"mistake": mistake}, count=processes)
    return ended


def _break(mistake: str) -> None:
    from billing import ledger, stripe_events

    if mistake:
        vars(stripe_events)["turn_of"] = lambda account_id: contextlib.nullcontext(True)
    if mistake == NO_KEYS:
        honest = ledger.entry_post

        def careless(**fields: Any) -> bool:
            return honest(**fields | {"op_key": uuid.uuid4().hex})

        vars(ledger)["entry_post"] = careless


def work(task: dict[str, str], start: Start) -> int:
    """One of the processes: it works until nothing waits any more."""
    from django.utils import timezone

    from billing.models import StripeEvent
    from billing.stripe_events import events_process

    _break(task["mistake"])
    StripeEvent.objects.exists()  # connected before the start
    start()
    ended = 0
    while StripeEvent.objects.filter(state="new").exists():
        ended += events_process(now=timezone.now())
        time.sleep(0.05)
    return ended


if __name__ == "__main__":
    siblings_run(work)
