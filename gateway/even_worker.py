"""gunicorn's threaded worker, taking new connections in turn with the other processes.

They all listen on one socket, and the first to wake would take every connection that is waiting. A client that opens
sixteen at once and keeps them then has one process to itself while the others idle, at a third to a half of the speed
(benchmarks.admission). So a process that has more connections than another lets it go first.
"""

from __future__ import annotations

import mmap
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

# How many connections more than the one with the fewest a process may have before it waits for it.
LEAD = 2
# Long enough for an idle process to wake and take the connection. Then whoever waited takes it after all.
TURN_S = 0.001
# A process tells its count at least once a second while it lives.
SILENT_S = 3
SLOTS = 128
# Shared by all processes that are forked from here: of each its connections, and the second in which it told them.
_told = memoryview(mmap.mmap(-1, SLOTS * 2 * 4)).cast("I")


class EvenWorker(ThreadWorker):
    def __init__(self, age: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(age, *args, **kwargs)
        self._place = age % SLOTS * 2

    def notify(self) -> None:
        """Each turn of the loop begins here: alive, and with so many connections. One that is about to end is not
        waited for: it takes no more.
        """
        super().notify()
        _told[self._place], _told[self._place + 1] = self.nr_conns, int(time.monotonic()) if self.alive else 0

    def accept(self, listener: Any) -> None:
        if self.nr_conns >= LEAD and self.nr_conns >= self._fewest() + LEAD:
            time.sleep(TURN_S)
        super().accept(listener)

    def _fewest(self) -> int:
        """The connections of the process that has the fewest, this one included."""
        since = int(time.monotonic()) - SILENT_S
        return min((_told[place] for place in range(0, SLOTS * 2, 2) if _told[place + 1] >= since), default=0)
