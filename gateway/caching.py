"""What a web process may remember for a second: enough to keep SQL off refused calls, short enough to obey at once.

A revoked key, a new price or a changed plan holds within TTL_S on every process, without any message between them.
Money and quotas are never remembered: their guards are in the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

TTL_S = 0.9
ENTRIES_MAX = 20_000


class TtlCache(Generic[K, V]):
    """A bounded map whose entries live for `ttl_s`. Two threads may load the same entry at once; both get it right."""

    def __init__(self, *, ttl_s: float = TTL_S, entries_max: int = ENTRIES_MAX) -> None:
        self.ttl_s = ttl_s
        self.entries_max = entries_max
        self._entries: dict[K, tuple[float, V]] = {}
        self._lock = threading.Lock()
        _caches.append(self)

    def get(self, key: K, load: Callable[[], V]) -> V:
        """The remembered value, or what `load` returns now. What `load` raises is not remembered."""
        now = time.monotonic()
        entry = self._entries.get(key)
        if entry is not None and entry[0] > now:
            return entry[1]
        value = load()
        with self._lock:
            if len(self._entries) >= self.entries_max:
                self._entries.clear()
            self._entries[key] = (now + self.ttl_s, value)
        return value

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


_caches: list[TtlCache] = []  # type: ignore[type-arg]


def caches_clear() -> None:
    """Forget everything: for tests, and for a command that wants its change seen at once in its own process."""
    for cache in _caches:
        cache.clear()
