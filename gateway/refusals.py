"""Counts refused calls by their error code. A refusal itself touches no table: its process adds up and writes later.

A process that is killed loses the counts of its last seconds; nothing else depends on them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from datetime import datetime

from django.db import DatabaseError, connection
from django.utils import timezone

from billing.usage import bucket_of

FLUSH_EVERY_S = 5.0

_UPSERT = """
INSERT INTO gateway_refusalbucket (bucket, code, calls) VALUES (%s, %s, %s)
ON CONFLICT (bucket, code) DO UPDATE SET calls = gateway_refusalbucket.calls + excluded.calls
"""

logger = logging.getLogger(__name__)


class Refusals:
    """The counts of this process that are not written yet."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, code: str) -> None:
        with self._lock:
            self._counts[code] += 1

    def flush(self, *, now: datetime | None = None) -> int:
        """Write what was counted, as of now; how many calls that were."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if counts:
            bucket = connection.ops.adapt_datetimefield_value(bucket_of(now or timezone.now()))
            with connection.cursor() as cursor:
                for code, calls in sorted(counts.items()):
                    cursor.execute(_UPSERT, [bucket, code, calls])
        return counts.total()

    def flush_forever(self) -> None:
        """What a web process does beside serving (gunicorn.conf.py)."""
        while True:
            time.sleep(FLUSH_EVERY_S)
            try:
                self.flush()
            except DatabaseError as problem:
                logger.warning("Counts of refused calls are lost: %s", type(problem).__name__)
            finally:
                connection.close()


refusals = Refusals()
