"""Faults on purpose: what may go wrong between a client and Stripe, asked for by a test or drawn by a seed.

It only decides which request suffers what; backend.py makes it happen.
"""

import random
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase

BEFORE = ("refuse", "error", "unavailable", "rate_limit", "conflict", "forbidden", "unauthorized", "hang")
AFTER = ("error_after_commit", "drop_after_commit", "hang_after_commit")
KINDS = (*BEFORE, *AFTER, "delay")


@dataclass
class Rule:
    """Which requests suffer what. `refuse` drops the connection before anything is done; `hang` keeps it open for
    `seconds` and then drops it; the `_after_commit` kinds do the work first."""

    kind: str
    method: str = "*"
    path: str = "*"
    times: int = 1
    skip: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no trouble called {self.kind!r}: choose one of {', '.join(KINDS)}.")

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and fnmatchcase(method, self.method) and fnmatchcase(path, self.path)


class Trouble:
    """The rules in force. Drawing is deterministic: the n-th request of a seed always fares the same."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._random = random.Random(f"{seed}:requests")  # noqa: S311 - repeatable, not secret
        self._rate = 0.0
        self._kinds: tuple[str, ...] = ()
        self._seconds = 0.0

    def add(
        self, kind: str, *, method: str = "*", path: str = "*", times: int = 1, skip: int = 0, seconds: float = 0.0
    ) -> None:
        """The next `times` matching requests, after the first `skip` of them, suffer this."""
        with self._lock:
            self._rules.append(Rule(kind, method, path, times, skip, seconds))

    def chance(self, rate: float, *kinds: str, seconds: float = 0.0) -> None:
        """From now on every request suffers one of the kinds with this probability."""
        for kind in kinds:
            Rule(kind)
        with self._lock:
            self._rate, self._kinds, self._seconds = rate, kinds, seconds

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self._rate = 0.0

    def take(self, method: str, path: str) -> Rule | None:
        """The trouble of one request, used up by asking."""
        with self._lock:
            for rule in self._rules:
                if rule.matches(method, path):
                    if rule.skip:
                        rule.skip -= 1
                        return None
                    rule.times -= 1
                    return rule
            if self._rate and self._random.random() < self._rate:
                return Rule(self._random.choice(self._kinds), seconds=self._seconds)
            return None
