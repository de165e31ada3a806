"""Threads that take turns: of the calls of one process few compute at the same moment, however many are there.

Python runs one thread at a time. When sixteen have something to compute, each wakes at every pause of another, finds
the interpreter taken and sleeps again: a fifth of an accepted call went into that. So a call waits until one of few
turns is free, and then goes through at once. Whoever begins to wait for something long gives its turn away
(`give_turn_away`), and who has had it for PATIENCE_S loses it: a slow client, a page or a fetch holds nobody up for
longer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

Job = Callable[[], None]

# An accepted call takes one to three milliseconds.
PATIENCE_S = 0.02
_here = threading.local()


class Runner:
    """A thread of Turns. `go` is released when it has been given a job."""

    def __init__(self) -> None:
        self.go = threading.Lock()
        self.go.acquire()
        self.job: Job | None = None


class Turns:
    """At most `at_once` jobs have a turn, in the order in which they came; at most `threads_max` run or wait."""

    def __init__(self, *, at_once: int, threads_max: int) -> None:
        self._at_once = at_once
        self._threads_max = threads_max
        self._lock = threading.Lock()
        self._queue: deque[Job] = deque()
        # Who has a turn, and since when (monotonic).
        self._turns: dict[Runner, float] = {}
        # The one that ran last is at the end, and runs first: its memory is still warm.
        self._idle: list[Runner] = []
        self._threads = 0

    def submit(self, job: Job) -> None:
        """Run a job when its turn comes. What it raises is logged."""
        with self._lock:
            self._queue.append(job)
            self._let_run()

    @property
    def someone_waits(self) -> bool:
        return bool(self._queue)

    def relieve(self) -> None:
        """Take the turn of whoever has had it for longer than PATIENCE_S, and let others run. To be called while
        someone waits."""
        with self._lock:
            long_ago = time.monotonic() - PATIENCE_S
            for runner in [runner for runner, since in self._turns.items() if since <= long_ago]:
                del self._turns[runner]
            self._let_run()

    def shutdown(self, *, wait: bool) -> None:
        """Nothing is to be ended: no thread keeps its process alive."""

    def give_away(self, runner: Runner) -> None:
        with self._lock:
            if self._turns.pop(runner, None) is not None:
                self._let_run()

    def _let_run(self) -> None:
        while self._queue and len(self._turns) < self._at_once:
            if self._idle:
                runner = self._idle.pop()
            elif self._threads < self._threads_max:
                self._threads += 1
                runner = Runner()
                threading.Thread(target=self._run, args=(runner,), name="turn", daemon=True).start()
            else:
                return
            runner.job = self._queue.popleft()
            self._turns[runner] = time.monotonic()
            runner.go.release()

    def _run(self, runner: Runner) -> None:
        _here.turn = (self, runner)
        while True:
            runner.go.acquire()
            job, runner.job = runner.job, None
            while job is not None:
                try:
                    job()
                except Exception:
                    logger.exception("A job that had its turn broke")
                job = self._next(runner)

    def _next(self, runner: Runner) -> Job | None:
        """Whoever has ended goes on with the next job, if it may; otherwise it rests."""
        with self._lock:
            self._turns.pop(runner, None)
            if self._queue and len(self._turns) < self._at_once:
                self._turns[runner] = time.monotonic()
                return self._queue.popleft()
            self._idle.append(runner)
            return None


def give_turn_away() -> None:
    """For a call that is about to wait for long. It goes on without a turn afterwards; elsewhere this does nothing."""
    turn: tuple[Turns, Runner] | None = getattr(_here, "turn", None)
    if turn is not None:
        turns, runner = turn
        turns.give_away(runner)
