"""When the device's memory runs out: what is idle in it goes, and what failed is tried once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from inference.engine.errors import is_out_of_memory
from inference.engine.pool import Pool
from inference.engine.tally import Tally

T = TypeVar("T")


class Relief:
    def __init__(self, pool: Pool, tally: Tally) -> None:
        self.pool, self.tally = pool, tally

    def make_room(self) -> None:
        self.pool.drop_idle()

    def second_try(self, act: Callable[[], T]) -> T:
        """`act` must leave nothing behind when it fails. Other failures than that of memory are the caller's."""
        try:
            return act()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Out here nothing refers to the failed try's tensors any more.
        self.tally.counts["oom"] += 1
        self.make_room()
        return act()
