"""Nudges between processes: "there is work" to the dispatcher, "this is finished" to waiting requests.

A nudge only saves time. Whoever waits also looks into the database now and then, so that a lost one costs a moment,
never a result; without Redis, looking is all there is.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterable

import redis
from django.conf import settings
from django.db import DatabaseError, connection

from inference.selectors import generations_settled

logger = logging.getLogger(__name__)

DISPATCH_CHANNEL = "gateway:dispatch"
FINISHED_CHANNEL = "gateway:finished"
# The first call of a burst is told of at once; those that follow within this time, together.
NUDGE_PAUSE_S = 0.025
POLL_S_WITH_REDIS, POLL_S_ALONE = 1.0, 0.1
POLL_IDS_MAX = 500


@functools.cache
def redis_client() -> redis.Redis | None:
    """This process's client for nudges; None in the embedded profile."""
    if not settings.REDIS_URL:
        return None
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1, health_check_interval=30
    )


class Nudger:
    """Publishes from a thread of its own, so that admission neither waits for Redis nor fails with it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._wanted = threading.Event()
        threading.Thread(target=self._run, name="nudger", daemon=True).start()

    def nudge(self) -> None:
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self._client.publish(DISPATCH_CHANNEL, b"")
            except (redis.RedisError, OSError) as problem:
                logger.warning("The dispatcher could not be nudged and will find the work by itself: %s", problem)
            time.sleep(NUDGE_PAUSE_S)


@functools.cache
def _nudger() -> Nudger | None:
    client = redis_client()
    return Nudger(client) if client else None


def dispatcher_wake() -> None:
    """Tell the dispatcher, soon, that a generation waits."""
    nudger = _nudger()
    if nudger:
        nudger.nudge()


def finished_announce(generation_ids: Iterable[int]) -> None:
    """Wake the requests that wait for these, on whichever process."""
    client = redis_client()
    if client is None:
        return
    try:
        client.publish(FINISHED_CHANNEL, ",".join(map(str, generation_ids)))
    except (redis.RedisError, OSError) as problem:
        logger.warning("Waiting requests could not be woken and will look by themselves: %s", problem)


class FinishedWatch:
    """All waiting requests of this process behind one listener and one query: none holds a database connection."""

    def __init__(self, client: redis.Redis | None) -> None:
        self._client = client
        self._waiting: dict[int, list[threading.Event]] = {}
        self._lock = threading.Lock()
        self._anyone = threading.Event()
        threading.Thread(target=self._poll_forever, name="finished-poll", daemon=True).start()
        if client:
            threading.Thread(target=self._listen_forever, args=(client,), name="finished-listen", daemon=True).start()

    def wait(self, generation_id: int, *, timeout_s: float) -> bool:
        """Block until the generation is settled; False when the time ran out first."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(generation_id, []).append(event)
            self._anyone.set()
        try:
            # What was announced before we listened is in the database by now.
            if generations_settled([generation_id]):
                return True
            connection.close()
            return event.wait(timeout_s)
        finally:
            self._leave(generation_id, event)

    def _leave(self, generation_id: int, event: threading.Event) -> None:
        with self._lock:
            events = self._waiting.get(generation_id, [])
            if event in events:
                events.remove(event)
            if not events:
                self._waiting.pop(generation_id, None)

    def _wake(self, generation_ids: Iterable[int]) -> None:
        with self._lock:
            for generation_id in generation_ids:
                for event in self._waiting.get(generation_id, ()):
                    event.set()

    def _listen_forever(self, client: redis.Redis) -> None:
        while True:
            try:
                subscription = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
                subscription.subscribe(FINISHED_CHANNEL)
                while True:
                    message = subscription.get_message(timeout=1.0)
                    if message and message["data"]:
                        self._wake(map(int, message["data"].split(b",")))
            except (redis.RedisError, OSError) as problem:
                logger.warning("Listening for finished generations again in a second: %s", problem)
                time.sleep(1)

    def _poll_forever(self) -> None:
        pause_s = POLL_S_WITH_REDIS if self._client else POLL_S_ALONE
        while True:
            self._anyone.wait()
            time.sleep(pause_s)
            with self._lock:
                ids = list(self._waiting)
                if not ids:
                    self._anyone.clear()
            self._poll(ids)

    def _poll(self, ids: list[int]) -> None:
        try:
            for start in range(0, len(ids), POLL_IDS_MAX):
                self._wake(generations_settled(ids[start : start + POLL_IDS_MAX]))
        except DatabaseError as problem:
            logger.warning("Looking for finished generations failed, again soon: %s", problem)
        finally:
            connection.close()


@functools.cache
def finished_watch() -> FinishedWatch:
    return FinishedWatch(redis_client())
