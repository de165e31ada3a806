"""When and from where each key was used last: noted in memory by every call, written by one thread a few seconds later.

A call pays one assignment. What a killed process had not written is lost, which a "last used" can bear. The thread
starts with the web server (gunicorn.conf.py); whatever else imports this writes by `flush` alone.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, connection, transaction

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 5.0
KEYS_MAX = 20_000
ENDPOINT_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Use:
    at: datetime
    address: str
    endpoint: str


_uses: dict[int, Use] = {}
_stop = threading.Event()


def key_used(*, key_id: int, address: str, endpoint: str, now: datetime) -> None:
    """Remember this use. With too many keys waiting to be written, new ones are not noted."""
    if key_id in _uses or len(_uses) < KEYS_MAX:
        _uses[key_id] = Use(now, address, endpoint[:ENDPOINT_CHARACTERS])


def flush() -> int:
    """Write what was noted; how many keys. A key that is used meanwhile is written by the next call."""
    # In one order everywhere, so that two processes never wait for each other's rows.
    taken = [(key_id, _uses.pop(key_id)) for key_id in sorted(_uses)]
    rows = [
        (connection.ops.adapt_datetimefield_value(use.at), use.address or None, use.endpoint, key_id)
        for key_id, use in taken
    ]
    if rows:
        with transaction.atomic(savepoint=False), connection.cursor() as cursor:
            # Written out: the ORM's way for many rows takes as long as a hundred calls of the API.
            cursor.executemany(
                "UPDATE accounts_apikey SET last_used_at = %s, last_used_address = %s, last_used_endpoint = %s"
                " WHERE id = %s",
                rows,
            )
    return len(rows)


def writer_start() -> None:
    """Once per web process, after it was forked."""
    _stop.clear()
    threading.Thread(target=_run, name="last-use", daemon=True).start()


def writer_stop() -> None:
    """Write the rest: the process is about to end."""
    _stop.set()
    _flush_guarded()


def _run() -> None:
    while not _stop.wait(FLUSH_EVERY_S):
        _flush_guarded()


def _flush_guarded() -> None:
    try:
        flush()
    except DatabaseError as problem:
        logger.warning("The last use of some keys could not be written: %s", problem)
    finally:
        connection.close()
