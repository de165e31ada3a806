"""What a web process may remember: enough to keep SQL off refused calls, and obedient within half a second.

Whatever changes a key, an account's terms, a price or the catalogue moves one number in the database (triggers do,
gateway/migrations/0004). Each process looks at that number twice a second and forgets everything when it has moved, so
a revoked key holds everywhere within a second without any message between processes. What takes effect by the clock
alone (a price dated ahead) holds within TTL_S. Money and quotas are never remembered: their guards are in the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from gateway.models import Revision

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

TTL_S = 30.0
MISSING_TTL_S = 0.9
REVISION_EVERY_S = 0.5
ENTRIES_MAX = 20_000


class _Watch:
    """The revision as this process last saw it."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._look_at = 0.0

    def current(self, now: float) -> int | None:
        """One look every REVISION_EVERY_S, by whichever thread comes first; the others go on with what is known."""
        if now >= self._look_at:
            self._look_at = now + REVISION_EVERY_S
            self._number = Revision.objects.values_list("number", flat=True).filter(pk=1).first()
        return self._number

    def forget(self) -> None:
        self._look_at = 0.0


_watch = _Watch()


class TtlCache(Generic[K, V]):
    """A bounded map whose entries live until the revision moves or their time is over, whichever comes first.

    What was not there (None) lives MISSING_TTL_S, as its arrival moves nothing. Without `watched` only time counts.
    Two threads may load the same entry at once; both get it right.
    """

    def __init__(self, *, ttl_s: float = TTL_S, entries_max: int = ENTRIES_MAX, watched: bool = True) -> None:
        self.ttl_s = ttl_s
        self.entries_max = entries_max
        self.watched = watched
        self._entries: dict[K, tuple[float, int | None, V]] = {}
        self._lock = threading.Lock()
        _caches.append(self)

    def get(self, key: K, load: Callable[[], V]) -> V:
        """The remembered value, or what `load` returns now. What `load` raises is not remembered."""
        now = time.monotonic()
        revision = _watch.current(now) if self.watched else None
        entry = self._entries.get(key)
        if entry is not None and entry[0] > now and entry[1] == revision:
            return entry[2]
        value = load()
        ttl_s = self.ttl_s if value is not None else min(self.ttl_s, MISSING_TTL_S)
        with self._lock:
            if len(self._entries) >= self.entries_max:
                self._entries.clear()
            self._entries[key] = (now + ttl_s, revision, value)
        return value

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


_caches: list[TtlCache] = []  # type: ignore[type-arg]


def caches_clear() -> None:
    """Forget everything: for tests, and for a command that wants its change seen at once in its own process."""
    _watch.forget()
    for cache in _caches:
        cache.clear()
