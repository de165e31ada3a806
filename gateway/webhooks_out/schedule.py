"""When a message has arrived, when it is tried again, and when a receiver is given up on. Pure."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

# Ten attempts over about sixteen hours: at once, and then after these pauses. The first ones cover a restart, the
# last ones a night.
PAUSES_S = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800)
ATTEMPTS_MAX = len(PAUSES_S) + 1
JITTER = 0.1  # so that a receiver that comes back is not met by everybody at once

# A receiver that failed this often in a row, for this long, is asleep or gone: its messages wait for its owner.
PAUSE_AFTER_FAILURES = 20
PAUSE_AFTER = timedelta(hours=24)

GONE = 410  # the receiver's own word that it wants no more of this


def is_taken(status: int | None) -> bool:
    """Whether a receiver that answered so has the message; None is no answer."""
    return status is not None and 200 <= status < 300


def next_attempt_at(*, attempts: int, now: datetime) -> datetime | None:
    """After this many attempts; None when that was the last."""
    if attempts >= ATTEMPTS_MAX:
        return None
    # Spreading load needs no secrecy.
    stretch = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311
    return now + timedelta(seconds=PAUSES_S[max(attempts, 1) - 1] * stretch)


def is_worth_pausing(*, failures_in_row: int, failing_since: datetime | None, now: datetime) -> bool:
    if failing_since is None or failures_in_row < PAUSE_AFTER_FAILURES:
        return False
    return now - failing_since >= PAUSE_AFTER
