"""The dispatcher: one process at a time that gives waiting generations to render workers and keeps the house swept.

It renders nothing and settles nothing by itself: it assigns leases, sends them, takes back those that ran out, and
sets off periodic work. Whatever it was doing when it died, the rows tell its successor.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from kombu.exceptions import OperationalError

from gateway.dispatch import Assignment, Fairness, Slots, Waiting, assign
from gateway.models import Leadership
from gateway.periodic import PERIODIC
from gateway.wakeups import DISPATCH_CHANNEL, redis_client
from inference import render_control
from inference.models import Generation, GenerationState, WorkerState
from inference.selectors import workers_alive
from inference.states import generation_lease

logger = logging.getLogger(__name__)

DUTY = "dispatcher"
LEADERSHIP = timedelta(seconds=10)
RENEW_EVERY_S = 1.0
WORKER_SILENT = timedelta(seconds=20)
# Of one account's queue no more than these are looked at in one run; the rest is behind them anyway.
WAITING_PER_ACCOUNT, WAITING_MAX = 32, 512
POLL_S_WITH_REDIS, POLL_S_ALONE = 0.5, 0.05
# A Redis that went away is tried again this often; without one in the settings a try costs nothing.
SUBSCRIBE_EVERY_S = 5.0


def leadership_take(*, holder: str, now: datetime) -> bool:
    """Whether `holder` has the duty until `now` + LEADERSHIP: it had it already, or nobody else does."""
    free = Leadership.objects.filter(duty=DUTY, until__lt=now) | Leadership.objects.filter(duty=DUTY, holder=holder)
    if free.update(holder=holder, until=now + LEADERSHIP):
        return True
    _, created = Leadership.objects.get_or_create(duty=DUTY, defaults={"holder": holder, "until": now + LEADERSHIP})
    return created


def leadership_leave(*, holder: str) -> None:
    Leadership.objects.filter(duty=DUTY, holder=holder).delete()


def waiting_now() -> list[Waiting]:
    """What waits, oldest first, with no account crowding out the others."""
    numbered = Generation.objects.filter(state=GenerationState.WAITING).annotate(
        place=Window(RowNumber(), partition_by=F("account_id"), order_by=[F("priority").desc(), F("created_at")])
    )
    rows = numbered.filter(place__lte=WAITING_PER_ACCOUNT).order_by("place", "created_at")[:WAITING_MAX]
    fields = ("id", "account_id", "model_id", "work_kilopixel_steps", "weight", "priority")
    items = [
        Waiting(generation_id=pk, account_id=account_id, model_id=model_id, work=work, weight=weight, priority=priority)
        for pk, account_id, model_id, work, weight, priority in rows.values_list(*fields)
    ]
    return sorted(items, key=lambda item: item.generation_id)


def slots_now(now: datetime) -> list[Slots]:
    """Render workers with room: those heard of lately and not draining, less what they hold leases for."""
    running = Generation.objects.filter(state=GenerationState.RUNNING)
    busy = dict(running.values_list("worker").annotate(Count("id")))
    ready = workers_alive().filter(draining=False, last_seen_at__gte=now - WORKER_SILENT)
    return [
        Slots(
            worker=worker.name,
            free=max(worker.slots - busy.get(worker.name, 0), 0),
            serves=frozenset(worker.serves),
            resident=frozenset(worker.resident),
            owner_account_id=worker.owner_account_id,
        )
        for worker in ready.filter(state__in=(WorkerState.IDLE, WorkerState.BUSY))
    ]


def dispatch(fairness: Fairness, *, now: datetime) -> int:
    """Assign what can be assigned and send it; how many. An idle house costs one small question a turn."""
    if not Generation.objects.filter(state=GenerationState.WAITING).exists():
        return 0
    slots = slots_now(now)
    if not any(slot.free for slot in slots):
        return 0
    assignments = assign(waiting_now(), slots, fairness)
    leased: list[Assignment] = []
    with transaction.atomic():
        lease_until = now + timedelta(seconds=settings.LEASE_S)
        for one in assignments:
            if generation_lease(generation_id=one.generation_id, worker=one.worker, lease_until=lease_until):
                leased.append(one)
    _send(leased)
    return len(leased)


def _send(leased: list[Assignment]) -> None:
    """After the commit. What cannot be sent is a lease that runs out, like any lost message."""
    rows = Generation.objects.filter(pk__in=[one.generation_id for one in leased]).values_list("id", "attempt", "spec")
    specs = {pk: (attempt, spec) for pk, attempt, spec in rows}
    for one in leased:
        attempt, spec = specs[one.generation_id]
        try:
            render_control.render(
                worker=one.worker,
                generation_id=one.generation_id,
                attempt=attempt,
                spec=spec | {"attempt": attempt},
            )
        except OperationalError as problem:
            logger.warning("Generation %s could not be sent and waits for its lease: %s", one.generation_id, problem)


@dataclass(slots=True)
class Duty:
    """One periodic piece of work and when it is due next (monotonic seconds)."""

    name: str
    every_s: float
    run: Callable[[datetime], object]
    due_at: float = 0.0


class Dispatcher:
    """The loop. `stop` ends it after the current turn."""

    def __init__(self) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}"
        self.fairness = Fairness()
        self.duties = [Duty(name, every_s, run) for name, every_s, run in PERIODIC]
        self._stopping = threading.Event()
        self._nudges = _subscribe()
        self._subscribe_at = 0.0

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        renew_at = 0.0
        try:
            while not self._stopping.is_set():
                if time.monotonic() >= renew_at:
                    if not self._lead():
                        self._stopping.wait(1.0)
                        continue
                    renew_at = time.monotonic() + RENEW_EVERY_S
                self._turn()
        finally:
            leadership_leave(holder=self.holder)
            connection.close()

    def _lead(self) -> bool:
        try:
            return leadership_take(holder=self.holder, now=timezone.now())
        except DatabaseError as problem:
            logger.warning("The database is away, trying again: %s", problem)
            connection.close()
            return False

    def _turn(self) -> None:
        try:
            dispatch(self.fairness, now=timezone.now())
            self._periodic()
        except DatabaseError as problem:
            logger.warning("A turn of the dispatcher failed and will be made again: %s", problem)
            connection.close()
            self._stopping.wait(1.0)
        self._await_nudge()

    def _periodic(self) -> None:
        for duty in self.duties:
            if time.monotonic() < duty.due_at:
                continue
            duty.due_at = time.monotonic() + duty.every_s
            try:
                duty.run(timezone.now())
            except DatabaseError:
                raise
            except Exception:
                logger.exception("The periodic work %s failed and will run again.", duty.name)

    def _await_nudge(self) -> None:
        """Until there is work to look at: a nudge, or the poll that makes nudges unnecessary."""
        if self._nudges is None:
            self._stopping.wait(POLL_S_ALONE)
            if time.monotonic() >= self._subscribe_at:
                self._subscribe_at = time.monotonic() + SUBSCRIBE_EVERY_S
                self._nudges = _subscribe()
            return
        try:
            self._nudges.get_message(timeout=POLL_S_WITH_REDIS)
        except (redis.RedisError, OSError) as problem:
            logger.warning("Redis is away, looking for work by polling: %s", problem)
            self._stopping.wait(POLL_S_ALONE)
            self._nudges = _subscribe()


def _subscribe() -> redis.client.PubSub | None:
    client = redis_client()
    if client is None:
        return None
    subscription: redis.client.PubSub = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    try:
        subscription.subscribe(DISPATCH_CHANNEL)
    except (redis.RedisError, OSError):
        return None
    return subscription
