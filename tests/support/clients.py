"""Clients as developers write them: they repeat a call with its idempotency key until the service answers."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TEXT_TO_IMAGE = "/api/v7/images/text-to-image"
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


@dataclass
class Crowd:
    """Clients of one account. `accepted` maps each idempotency key to the id that its answer gave."""

    url: str
    key: str
    seed: int
    calls: int = 24
    threads: int = 6
    give_up_s: float = 60.0
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

        workers = [threading.Thread(target=work) for _ in range(self.threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

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
