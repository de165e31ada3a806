"""Sends events to the webhook endpoint: signed as Stripe signs, repeated until accepted, and disturbed when asked.

It must never hold the world's lock while it sends: the receiver asks the sandbox back.
"""

import hashlib
import hmac
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from billing.sandbox.world import Obj, World

Target: TypeAlias = str | Callable[[bytes, str], int] | None

TIMEOUT_S = 20
RETRY_DELAYS_S = (1.0, 5.0, 30.0)  # Stripe's test mode retries three times, over hours


@dataclass
class Disturbance:
    """What happens to deliveries on purpose."""

    duplicates: int = 0  # extra copies of each event
    drop: float = 0.0  # share of attempts that are never made
    shuffle: bool = False
    delay_s: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver; status 0 means that nobody answered."""

    event_id: str
    type: str
    status: int

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


def sign(body: str, secrets: Iterable[str], timestamp: int) -> str:
    """The Stripe-Signature header: one v1 signature for each secret, as while a secret is being rotated."""
    signed = f"{timestamp}.{body}".encode()
    digests = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])


class Delivery:
    def __init__(
        self, world: World, target: Target, secrets: tuple[str, ...], *, seed: int, types: frozenset[str] | None = None
    ) -> None:
        self.target = target
        self.secrets = secrets
        self.disturbance = Disturbance()
        self.retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S
        self.attempts: list[Attempt] = []
        self._world = world
        self._types = types
        self._random = random.Random(f"{seed}:webhooks")  # noqa: S311 - repeatable, not secret
        self._queue: list[tuple[float, str, int]] = []  # (due by the monotonic clock, event id, attempt)
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def body_and_signature(
        self, event: Obj, *, timestamp: int | None = None, secrets: Iterable[str] | None = None
    ) -> tuple[bytes, str]:
        """What goes over the wire for an event."""
        body = json.dumps(event, indent=2)
        moment = int(time.time()) if timestamp is None else timestamp  # noqa: TID251 - the receiver compares with the wall clock
        return body.encode(), sign(body, self.secrets if secrets is None else secrets, moment)

    def pending(self) -> list[Obj]:
        """Events that nobody accepted yet, oldest first."""
        with self._world.lock:
            return [event for event in self._world.all("event") if event["pending_webhooks"] and self._wanted(event)]

    def _wanted(self, event: Obj) -> bool:
        return self._types is None or event["type"] in self._types

    def send(self, event: Obj) -> Attempt:
        """One attempt, undisturbed."""
        body, signature = self.body_and_signature(event)
        attempt = Attempt(event["id"], event["type"], self._post(body, signature))
        with self._world.lock:
            self.attempts.append(attempt)
            stored = self._world.find("event", event["id"])
            if stored is not None and attempt.accepted:
                stored["pending_webhooks"] = 0
                self._world.changed.set()
        return attempt

    def _post(self, body: bytes, signature: str) -> int:
        if not isinstance(self.target, str):
            return self.target(body, signature) if self.target else 0
        url = urlsplit(self.target)
        connection_type = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = connection_type(url.hostname or "", url.port, timeout=TIMEOUT_S)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature,
            "User-Agent": "Stripe/1.0 (sandbox)",
        }
        try:
            connection.request("POST", f"{url.path or '/'}{'?' + url.query if url.query else ''}", body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def deliver(self, events: list[Obj] | None = None) -> list[Attempt]:
        """Delivers these events (default: all pending ones) now, in order, with the disturbance in force."""
        return [self.send(event) for event in self._disturbed(self.pending() if events is None else events)]

    def _disturbed(self, events: list[Obj]) -> list[Obj]:
        trouble = self.disturbance
        copies = [event for event in events for _ in range(1 + trouble.duplicates)]
        kept = [event for event in copies if not (trouble.drop and self._random.random() < trouble.drop)]
        if trouble.shuffle:
            self._random.shuffle(kept)
        return kept

    # In the background

    def start(self) -> None:
        """Delivers by itself from now on, the events of an earlier run first."""
        self._thread = threading.Thread(target=self._work, name="sandbox-webhooks", daemon=True)
        for event in self.pending():
            self.enqueue(event)
        self._thread.start()

    def enqueue(self, event: Obj) -> None:
        if self._thread is None or not self._wanted(event):
            return
        trouble = self.disturbance
        with self._wake:
            for _ in range(1 + trouble.duplicates):
                wait_s = trouble.delay_s * (self._random.random() if trouble.shuffle else 1.0)
                self._queue.append((time.monotonic() + wait_s, event["id"], 0))
            self._wake.notify()

    def stop(self) -> None:
        if self._thread is not None:
            with self._wake:
                self._stopping = True
                self._wake.notify()
            self._thread.join(TIMEOUT_S)

    def _next(self) -> tuple[str, int] | None:
        """Waits for the next delivery that is due; None when stopping."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                due = min(self._queue, default=None)
                if due is not None and due[0] <= now:
                    self._queue.remove(due)
                    return due[1], due[2]
                self._wake.wait(due[0] - now if due else None)
        return None

    def _work(self) -> None:
        while (found := self._next()) is not None:
            event_id, number = found
            with self._world.lock:
                event = self._world.find("event", event_id)
            if event is None or (number and not event["pending_webhooks"]):
                continue
            dropped = self.disturbance.drop and self._random.random() < self.disturbance.drop
            accepted = not dropped and self.send(event).accepted
            if not accepted and number < len(self.retry_delays_s):
                with self._wake:
                    self._queue.append((time.monotonic() + self.retry_delays_s[number], event_id, number + 1))
