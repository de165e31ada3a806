"""Two processes that end the same generation at the same moment: one settles it, the other gives it up.

Run as a program it is one of the two: it reads an id and a delay per line and prints whether it won. A mistake makes
it a negative control: the states are read first and written later.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
ROLES = ("settle", "abort")
DELAY_MAX_US = 3_000


def duel(ids: Sequence[int], *, seed: int, mistake: str = "") -> list[tuple[str, ...]]:
    """For each generation, the roles that believe to have ended it."""
    chance = random.Random(seed)
    duellists = [_start(role, mistake) for role in ROLES]
    winners = []
    for generation_id in ids:
        for duellist in duellists:
            print(generation_id, chance.randrange(DELAY_MAX_US), file=duellist.stdin, flush=True)
        answers = [duellist.stdout.readline().strip() for duellist in duellists if duellist.stdout]
        winners.append(tuple(role for role, answer in zip(ROLES, answers, strict=True) if answer == "True"))
    for duellist in duellists:
        duellist.communicate(timeout=20)
    return winners


def _start(role: str, mistake: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.duel", role, mistake],
        cwd=PROJECT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "gateway.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    return child


def _check_then_act() -> None:
    """Both locks of the door, each read before it is written."""
    from billing import holds
    from billing.models import Hold
    from gateway.services import settle
    from inference.models import Generation

    class Unconditional:
        """Hold.objects whose conditional updates are a look and then an update."""

        def filter(self, *, pk: int, state: str = "") -> Any:
            if state and Hold.objects.get(pk=pk).state != state:
                return Hold.objects.none()
            time.sleep(0.003)
            return Hold.objects.filter(pk=pk)

        def get(self, *, pk: int) -> Hold:
            return Hold.objects.get(pk=pk)

    class LooseHold:
        objects = Unconditional()

    def finish(*, generation_id: int, state: str, now: Any, **outcome: Any) -> bool:
        return Generation.objects.filter(pk=generation_id).update(state=state, finished_at=now, **outcome) == 1

    vars(holds)["Hold"] = LooseHold
    vars(settle)["generation_finish"] = finish


def main() -> None:
    import django

    role, mistake = sys.argv[1:]
    django.setup()
    from django.utils import timezone

    from gateway.services import generation_abort, generation_settle
    from inference.models import Generation
    from tests.support.orders import delivered

    if mistake:
        _check_then_act()
    print("ready", flush=True)
    for line in sys.stdin:
        generation_id, delay_us = map(int, line.split())
        generation = Generation.objects.get(pk=generation_id)
        time.sleep(delay_us / 1e6)
        if role == "settle":
            won = generation_settle(generation_id=generation_id, result=delivered(generation), now=timezone.now())
        else:
            won = generation_abort(
                generation_id=generation_id, error_code="expired", error_message="Too late.", now=timezone.now()
            )
        print(won, flush=True)


if __name__ == "__main__":
    main()
