"""Clients as developers write them: they repeat a call with its idempotency key until the service answers."""

from __future__ import annotations

import collections
import http.client
import json
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TEXT_TO_IMAGE = "/api/v7/images/text-to-image"
FETCH, CANCEL = "/api/v7/images/fetch", "/api/v7/images/cancel"
ANSWER_TIMEOUT_S = 30.0
REPEAT_S = 0.15


def post(url: str, path: str, body: dict[str, Any], *, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of one call. ConnectionError or TimeoutError when there is no answer."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (http.client.HTTPException, ValueError) as problem:
        raise ConnectionError(str(problem)) from problem
    finally:
        connection.close()


def stampede(url: str, key: str, *, calls: int, threads: int = 32) -> collections.Counter[str]:
    """So many calls, each from its own connection, all threads started on one barrier: how many ended how."""
    outcomes: collections.Counter[str] = collections.Counter()
    start, lock, left = threading.Barrier(threads), threading.Lock(), iter(range(calls))

    def work() -> None:
        start.wait()
        while True:
            with lock:
                if next(left, None) is None:
                    return
            body = {"key": key, "prompt": "a red circle", "width": 64, "height": 64, "instant_response": "yes"}
            status, answer = post(url, TEXT_TO_IMAGE, body)
            with lock:
                outcomes["accepted" if status == 200 else answer["code"]] += 1

    run_all([threading.Thread(target=work) for _ in range(threads)])
    return outcomes


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@dataclass
class Crowd:
    """Clients of one account. `accepted` maps each idempotency key to the id that its answer gave.

    `instant` is whether calls ask for an answer at once; None leaves it to chance.
    """

    url: str
    key: str
    seed: int
    calls: int = 24
    threads: int = 6
    give_up_s: float = 60.0
    instant: bool | None = None
    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Make all the calls; returns when each has its answer or was given up."""
        names = iter([f"{self.seed}-{number}" for number in range(self.calls)])
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    name = next(names, None)
                if name is None:
                    return
                self._call(name)

        run_all([threading.Thread(target=work) for _ in range(self.threads)])

    def _call(self, name: str) -> None:
        choice = random.Random(name)
        body = {
            "key": self.key,
            "prompt": f"picture {name}",
            "width": 64,
            "height": 64,
            "samples": choice.randint(1, 4),
            "instant_response": choice.choice(["yes", "no"]),
        }
        if self.instant is not None:
            body["instant_response"] = "yes" if self.instant else "no"
        deadline = time.monotonic() + self.give_up_s
        while time.monotonic() < deadline:
            try:
                status, answer = post(self.url, TEXT_TO_IMAGE, body, headers={"Idempotency-Key": name})
            except OSError:
                time.sleep(REPEAT_S)
                continue
            if status == 200:
                self.accepted[name] = answer["id"]
                return
            if status < 500 and status != 429:
                self.refused[name] = answer["code"]
                return
            time.sleep(REPEAT_S)
        self.unanswered.append(name)


@dataclass
class MixedLoad:
    """For a while, clients of several accounts call, look at their calls and cancel some of them.

    `accepted` maps each account's key to the ids of its calls; `surprises` are answers that nobody should get.
    """

    url: str
    keys: list[str]
    seed: int
    seconds: float
    threads: int = 8
    accepted: dict[str, list[int]] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)

    def run(self) -> None:
        self.accepted = {key: [] for key in self.keys}
        until = time.monotonic() + self.seconds
        run_all([threading.Thread(target=self._work, args=(number, until)) for number in range(self.threads)])

    def _work(self, number: int, until: float) -> None:
        choice = random.Random(f"{self.seed}-{number}")
        while time.monotonic() < until:
            key = choice.choice(self.keys)
            known = self.accepted[key][-20:]
            path = choice.choices([TEXT_TO_IMAGE, FETCH, CANCEL], [6, 2, 2])[0] if known else TEXT_TO_IMAGE
            body: dict[str, Any] = {"key": key}
            if path == TEXT_TO_IMAGE:
                body |= {"prompt": "a red circle", "width": 64, "height": 64, "samples": choice.randint(1, 4)}
                body["instant_response"] = choice.choice(["yes", "yes", "no"])
            else:
                body["request_id"] = choice.choice(known)
            status, answer = post(self.url, path, body)
            if path == TEXT_TO_IMAGE and status == 200:
                self.accepted[key].append(answer["id"])
            elif status >= 500 or path == TEXT_TO_IMAGE:
                self.surprises.append(f"{path} {status} {answer}")


def leave_at_once(url: str, key: str, name: str) -> None:
    """Ask for a picture and hang up before the answer: the connection is reset."""
    where = urlsplit(url)
    body = json.dumps({"key": key, "prompt": name, "width": 64, "height": 64, "instant_response": "no"})
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=ANSWER_TIMEOUT_S)
    connection.request("POST", TEXT_TO_IMAGE, body, {"Content-Type": "application/json", "Idempotency-Key": name})
    time.sleep(0.2)  # the request is being worked on
    assert connection.sock
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
