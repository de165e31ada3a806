"""The words that every limiter speaks: what is limited, what was decided, what is used. Plain values only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

WINDOW_MS = 60_000
# A call leaves the log this long after it entered: a call exactly 60 s old still counts, so that even a closed
# window of 60 s holds no more than the limit.
LEAVES_AFTER_MS = WINDOW_MS + 1
# A place among the queued calls frees when one of them ends, which nobody can date. Refused calls are cheap.
QUEUED_RETRY_MS = 2_000

RefusedBy = Literal["minute", "queued"]


class Limit(NamedTuple):
    """What one scope (an account, a key) may do. None means that this limit does not exist."""

    scope: str
    per_minute: int | None
    queued: int | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one call, with the numbers of the limit that refused it, or else of the tightest minute limit."""

    allowed: bool
    scope: str
    limit: int | None  # None: no limit per minute in any scope
    remaining: int | None
    reset_at_epoch_s: int  # when `remaining` grows next
    retry_after_s: int  # 0 when allowed
    refused_by: RefusedBy | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a scope has used, for pages and headers."""

    scope: str
    per_minute: int | None
    used: int
    queued_limit: int | None
    queued: int
    reset_at_epoch_s: int

    @property
    def remaining(self) -> int | None:
        return None if self.per_minute is None else max(self.per_minute - self.used, 0)


class Uncounted(NamedTuple):
    """No decision: the count cannot vouch for this call, which must then be counted elsewhere.

    `counting_ms` is how long a count that began lately has been counting; None says that it cannot be reached.
    """

    counting_ms: int | None


class Verdict(NamedTuple):
    """A decision before it is told in epoch seconds: the counting clock need not be the caller's."""

    scope: str
    limit: int | None
    remaining: int | None
    wait_ms: int
    refused_by: RefusedBy | None

    def decision(self, *, now_ms: int) -> Decision:
        return Decision(
            allowed=self.refused_by is None,
            scope=self.scope,
            limit=self.limit,
            remaining=self.remaining,
            reset_at_epoch_s=math.ceil((now_ms + self.wait_ms) / 1000),
            retry_after_s=max(math.ceil(self.wait_ms / 1000), 1) if self.refused_by else 0,
            refused_by=self.refused_by,
        )


class Limiter(Protocol):
    """All limits of all scopes together, all or nothing: a refused call has consumed nothing.

    `token` names the call: the same token again counts once, so an admission may be repeated after a lost answer.
    `now_ms` is the caller's epoch clock; it dates the answer and never decides.
    """

    def admit(
        self,
        *,
        scope: str,
        token: str,
        now_ms: int,
        per_minute: int | None,
        queued: int | None,
        lease_s: int,
        extra: Sequence[tuple[str, int | None, int | None]] = (),
    ) -> Decision | Uncounted:
        """Count the call, and lend it a queued place for `lease_s` seconds, if every limit has room."""

    def recall(
        self,
        *,
        scope: str,
        now_ms: int,
        per_minute: int | None,
        extra: Sequence[tuple[str, int | None, int | None]] = (),
    ) -> Decision | None:
        """The refusal by a minute limit that is known without asking anybody; None: `admit` must decide."""

    def give_back(self, scopes: Sequence[str], token: str) -> None:
        """The call was refused later (money, quota): as if it never happened."""

    def finished(self, scopes: Sequence[str], token: str) -> None:
        """Free the queued places; the minute keeps its entry."""

    def renew(self, scopes: Sequence[str], token: str, *, lease_s: int) -> None:
        """Lengthen the leases that still stand. A place that ran out is not taken back."""

    def peek(self, *, scope: str, now_ms: int, per_minute: int | None, queued: int | None) -> Usage | None:
        """What is used now, None when the count cannot be asked; consumes nothing."""


def all_limits(
    scope: str, per_minute: int | None, queued: int | None, extra: Sequence[tuple[str, int | None, int | None]]
) -> list[Limit]:
    limits = [Limit(scope, per_minute, queued)]
    limits.extend(Limit(*one) for one in extra)
    return limits
