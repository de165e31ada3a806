"""Several processes that bring the inbox of Stripe's messages up to date at the same moment.

Run as a program it is one of them: it waits for the start line on its standard input, works until nothing waits any
more, and prints how many messages it ended. A mistake makes it a negative control.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
NO_TURNS, NO_KEYS = "no turns", "no turns and no keys"


def inbox_rush(*, processes: int = 8, mistake: str = "") -> list[int]:
    """How many messages each process ended."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.inbox", mistake],
            cwd=PROJECT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "gateway.settings"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin
        child.stdin.write("go\n")
        child.stdin.flush()
    return [int(child.communicate(timeout=100)[0].splitlines()[-1]) for child in children]


def _break(mistake: str) -> None:
    from billing import ledger, stripe_events

    if mistake:
        vars(stripe_events)["turn_of"] = lambda account_id: contextlib.nullcontext(True)
    if mistake == NO_KEYS:
        honest = ledger.entry_post

        def careless(**fields: Any) -> bool:
            return honest(**fields | {"op_key": uuid.uuid4().hex})

        vars(ledger)["entry_post"] = careless


def main() -> None:
    import django

    django.setup()
    from django.utils import timezone

    from billing.models import StripeEvent
    from billing.stripe_events import events_process

    _break(sys.argv[1])
    StripeEvent.objects.exists()  # connected before the start
    print("ready", flush=True)
    sys.stdin.readline()
    ended = 0
    while StripeEvent.objects.filter(state="new").exists():
        ended += events_process(now=timezone.now())
        time.sleep(0.05)
    print(ended)


if __name__ == "__main__":
    main()
