"""gunicorn's threaded worker, whose processes take new connections in turn, and whose threads take turns at computing
(gateway.turns).

The processes all listen on one socket, and the first to wake would take every connection that is waiting. A client that
opens sixteen at once and keeps them then has one process to itself while the others idle, at a third to a half of the
speed (benchmarks.admission). So a process that has more connections than another lets it go first.
"""

from __future__ import annotations

import mmap
import time
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from gateway import settings
from gateway.turns import PATIENCE_S, Turns

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

    def get_thread_pool(self) -> Turns:
        return Turns(at_once=settings.WEB_CALLS_AT_ONCE, threads_max=self.cfg.threads)

    def enqueue_req(self, conn: Any) -> None:
        self.tpool.submit(partial(self._serve, conn))

    def _serve(self, conn: Any) -> None:
        outcome: Future[Any] = Future()
        try:
            outcome.set_result(self.handle(conn))
        except BaseException as problem:  # gunicorn closes the connection then
            outcome.set_exception(problem)
            raise
        finally:
            self.method_queue.defer(self.finish_request, conn, outcome)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Looks after the turns as long as someone waits for one."""
        if not self.tpool.someone_waits:
            super().wait_for_and_dispatch_events(timeout)
        else:
            super().wait_for_and_dispatch_events(min(timeout, PATIENCE_S))
            self.tpool.relieve()

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
