"""What the device's thread counts, whose time it is, and who answers for a failure."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator

from inference.engine.work import Work, failure_of

logger = logging.getLogger(__name__)
BATCHES_MAX = 64


class Tally:
    """`clock` gives seconds. `counts`: forwards, forward_rows, images_done, and how often memory ran out (oom).
    `batches`: the forwards and their rows by model, of the BATCHES_MAX models that began to draw last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.counts: Counter[str] = Counter()
        self.batches: dict[str, tuple[int, int]] = {}

    def forward(self, model_id: str, rows: int) -> None:
        self.counts["forwards"] += 1
        self.counts["forward_rows"] += rows
        forwards, rows_before = self.batches.get(model_id, (0, 0))
        self.batches[model_id] = forwards + 1, rows_before + rows
        if len(self.batches) > BATCHES_MAX:
            del self.batches[next(iter(self.batches))]

    @contextlib.contextmanager
    def timed(self, works: list[Work]) -> Iterator[None]:
        """Share the device's time among those who used it."""
        started_s = self.clock()
        try:
            yield
        finally:
            share_s = (self.clock() - started_s) / len(works)
            for work in works:
                work.device_s += share_s

    @contextlib.contextmanager
    def blame(self, works: list[Work]) -> Iterator[None]:
        """An exception costs these jobs, never the loop."""
        try:
            yield
        except Exception as error:
            failure = failure_of(error)
            if failure is not error:
                logger.exception("The job %s failed.", works[0].spec.token)
            if failure.code == "out_of_memory":
                self.counts["oom"] += 1
            for work in works:
                work.fail(failure)
