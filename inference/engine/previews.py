"""Which picture under way is shown next to those who watch, so that previews stay cheap for those who do not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from inference.engine import events
from inference.engine.work import Row

logger = logging.getLogger(__name__)
# Nobody looks more often than this, however fast the device.
PAUSE_S = 0.25


class Previews:
    """`percent` bounds the share of the device's time; `clock` gives seconds.

    One preview at a time, for whoever has waited longest for one. What it took decides when the next one may come: a
    network of milliseconds shows every few steps, one that computes for minutes shows itself rarely.
    """

    def __init__(self, percent: int, clock: Callable[[], float]) -> None:
        self.percent, self.clock = percent, clock
        self._next_s = 0.0

    def draw(self, rows: Sequence[Row]) -> None:
        """After a step of these rows. A preview that fails costs nobody's picture."""
        started_s = self.clock()
        if not self.percent or started_s < self._next_s:
            return
        watched = [row for row in rows if row.work.watched and row in row.work.rows]
        unfinished = [row for row in watched if row.sample and not row.sample.done]
        if not unfinished:
            return
        row = min(unfinished, key=lambda row: (row.work.previewed_s, row.index))
        row.work.previewed_s = started_s
        try:
            self._show(row)
        except Exception:
            logger.exception("A preview of %s failed.", row.work.spec.token)
        took_s = self.clock() - started_s
        self._next_s = started_s + max(PAUSE_S, took_s * 100 / self.percent)

    def _show(self, row: Row) -> None:
        assert row.sample is not None
        assert row.work.drawing is not None
        picture = events.preview(row.work.drawing.model, row.sample)
        row.work.tell("preview", row.index, *row.sample.progress, preview=picture)
