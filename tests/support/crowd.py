"""Many processes with many threads that all admit calls for one account at the same moment.

A fault makes it a negative control: it breaks one guard on purpose.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Mapping
from typing import Any

from tests.support.siblings import Start, siblings, siblings_run

# Who looks first and acts then is overtaken in between. Long enough that some other try comes by on any machine.
LOOKED_S = 0.03


def rush(
    key: str,
    *,
    processes: int = 4,
    threads: int = 8,
    tries: int = 320,
    idempotency_key: str | None = None,
    fault: str = "",
    env: Mapping[str, str] | None = None,
) -> collections.Counter[str]:
    """How many tries ended how: "accepted", or the code of the refusal. `tries` is per process."""
    task = {"key": key, "threads": threads, "tries": tries, "idempotency_key": idempotency_key, "fault": fault}
    env = {"DATABASE_POOL_MAX": str(threads), **(env or {})}
    outcomes: collections.Counter[str] = collections.Counter()
    for told in siblings("tests.support.crowd", task, count=processes, env=env):
        outcomes.update(told)
    return outcomes


def _funds_guard_unguarded(account_id: int, amount_microusd: int, room: Any = None) -> Any:
    """Check, then act: the classic mistake."""
    from billing.guarded import Guard
    from billing.models import Wallet

    if Wallet.objects.get(pk=account_id).available_microusd < amount_microusd:
        return Guard("SELECT 1 AS id WHERE false")
    time.sleep(LOOKED_S)
    return Guard(
        "UPDATE billing_wallet SET held_microusd = held_microusd + %s WHERE account_id = %s RETURNING account_id AS id",
        (amount_microusd, account_id),
    )


def _free_day_guard_unguarded(account_id: int, limit: int, day: Any) -> Any:
    from billing.guarded import Guard
    from billing.models import UsageDay

    row, _ = UsageDay.objects.get_or_create(account_id=account_id, day=day)
    if row.calls >= limit:
        return Guard("SELECT 1 AS id WHERE false")
    time.sleep(LOOKED_S)
    return Guard("UPDATE billing_usageday SET calls = calls + 1 WHERE id = %s RETURNING id", (row.pk,))


def _room_unguarded(limits: Any, amount_microusd: int, now: Any) -> Any:
    """Looks for room first, and then counts without asking for it."""
    from dataclasses import replace

    from billing.spending import room_for, spend_refusal

    room = room_for(limits, amount_microusd, now)
    if room is None or spend_refusal(limits, amount_microusd, now):
        return room
    time.sleep(LOOKED_S)
    return replace(room, sql=room.sql.replace(" <= %s", " <= 10 * %s"))


def _claim_unguarded(caller: Any, order: Any, key: str, generation_id: int, now: Any) -> Any:
    """Looks the key up, and writes it when it was not there; no constraint stands behind it."""
    from gateway.models import IdempotencyRecord
    from inference.models import Generation

    found = IdempotencyRecord.objects.filter(account_id=caller.account_id, key__startswith=key).first()
    if found:
        return Generation.objects.get(pk=found.generation_id)
    time.sleep(LOOKED_S)
    IdempotencyRecord.objects.create(
        account_id=caller.account_id,
        key=f"{key} {generation_id}",
        body_digest=order.body_digest,
        generation_id=generation_id,
        created_at=now,
    )
    return None


def _break(fault: str) -> None:
    from django.db import connection

    from billing import holds, ledger
    from gateway.services import place

    if fault == "funds":
        ledger.funds_guard = _funds_guard_unguarded
        with connection.cursor() as cursor:  # The constraint would save even the broken variant.
            cursor.execute("ALTER TABLE billing_wallet DROP CONSTRAINT IF EXISTS wallet_never_overspent")
    elif fault == "free_day":
        holds.free_day_guard = _free_day_guard_unguarded
    elif fault == "spend_limit":
        setattr(holds, "room_for", _room_unguarded)  # noqa: B010 - it is imported there, not made there
    elif fault == "idempotency":
        place._idempotent = _claim_unguarded


def _attempt(task: dict[str, Any]) -> str:
    from django.utils import timezone

    from accounts.errors import DomainError
    from gateway.services import generation_place
    from tests.support import orders

    try:
        placement = generation_place(
            caller=orders.caller_of(_Key(task["key"])),
            order=orders.order(),
            idempotency_key=task["idempotency_key"],
            now=timezone.now(),
        )
    except DomainError as refusal:
        return refusal.code
    return "accepted" if placement.created else f"replayed {placement.generation.pk}"


class _Key:
    def __init__(self, key: str) -> None:
        self.key = key


def work(task: dict[str, Any], start: Start) -> dict[str, int]:
    """One process of the crowd: how many of its tries ended how."""
    from django.db import connection

    _break(task["fault"])
    connection.close()
    outcomes: collections.Counter[str] = collections.Counter()
    left = iter(range(task["tries"]))
    lock, started = threading.Lock(), threading.Event()

    def try_on() -> None:
        started.wait()
        while True:
            with lock:
                if next(left, None) is None:
                    break
            outcome = _attempt(task)
            with lock:
                outcomes[outcome] += 1
        connection.close()

    workers = [threading.Thread(target=try_on) for _ in range(task["threads"])]
    for worker in workers:
        worker.start()
    start()
    started.set()
    for worker in workers:
        worker.join()
    return outcomes


if __name__ == "__main__":
    siblings_run(work)
