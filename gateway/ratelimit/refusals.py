"""What a process remembers of the minute limits that Redis found full: a caller that keeps calling costs no question.

A full minute has no room before its oldest call leaves, unless a call is given back or the limit itself changes. The
first frees at most one place, which other processes' callers then get up to REMEMBERED_MS later; both ways nobody is
ever let through who should not be. Who obeys Retry-After, which is at least a second, never notices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.ratelimit.decision import Limit, Verdict

REMEMBERED_MS = 1_000
SCOPES_MAX = 10_000


class _Full(NamedTuple):
    limit: int
    until_ms: int  # remembered until then
    room_at_ms: int  # when the oldest call leaves


class Refusals:
    """Times are milliseconds of one clock of the process, handed in by the caller."""

    def __init__(self) -> None:
        self._full: dict[str, _Full] = {}

    def note(self, verdict: Verdict, *, now_ms: int) -> None:
        """Remember a refusal by a minute limit; anything else is no news."""
        if verdict.refused_by != "minute" or verdict.limit is None:
            return
        if len(self._full) >= SCOPES_MAX:
            self._full.clear()
        until_ms = now_ms + min(verdict.wait_ms, REMEMBERED_MS)
        self._full[verdict.scope] = _Full(verdict.limit, until_ms, now_ms + verdict.wait_ms)

    def forget(self, scopes: Sequence[str]) -> None:
        for scope in scopes:
            self._full.pop(scope, None)

    def recall(self, limits: Sequence[Limit], *, now_ms: int) -> Verdict | None:
        """The refusal that the first full one of these limits would give again."""
        for limit in limits:
            full = self._full.get(limit.scope)
            if full is not None and full.limit == limit.per_minute and now_ms < full.until_ms:
                return Verdict(limit.scope, full.limit, 0, full.room_at_ms - now_ms, "minute")
        return None
