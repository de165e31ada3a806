"""Ids of generations: known before the row is written, ordered by time, and exact in JavaScript.

40 bits of milliseconds since 2026, 5 that tell processes apart and 8 that count calls: below 2**53,
so every JSON reader keeps them whole. A clash is possible and harmless: the insert fails and the call draws again.
"""

from __future__ import annotations

import itertools
import os
import secrets
from datetime import UTC, datetime

EPOCH_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
PROCESS_BITS, CALL_BITS = 5, 8
_calls = itertools.count(secrets.randbelow(1 << CALL_BITS))
_salt = secrets.randbits(PROCESS_BITS)


def generation_made_at(generation_id: int) -> datetime:
    """When the call was made whose id this is, to the millisecond."""
    return datetime.fromtimestamp(((generation_id >> (PROCESS_BITS + CALL_BITS)) + EPOCH_MS) / 1000, UTC)


def generation_id_floor(moment: datetime) -> int:
    """The smallest id that a call of that moment, or a later one, can have."""
    return max(int(moment.timestamp() * 1000) - EPOCH_MS, 0) << (PROCESS_BITS + CALL_BITS)


def generation_id_new(now: datetime) -> int:
    milliseconds = int(now.timestamp() * 1000) - EPOCH_MS
    process = (os.getpid() + _salt) & ((1 << PROCESS_BITS) - 1)
    call = next(_calls) & ((1 << CALL_BITS) - 1)
    return (milliseconds << (PROCESS_BITS + CALL_BITS)) | (process << CALL_BITS) | call
