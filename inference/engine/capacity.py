"""How many network rows a forward may have: as many as the operator allows, fewer while memory does not suffice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

# After so many full forwards a bucket may have twice the rows again: what was short of memory may be gone. Each
# time that proves wrong, the next try comes twice as late, so that a lasting bound costs next to nothing.
PATIENCE, PATIENCE_MAX = 64, 4096
BUCKETS_MAX = 256


@dataclass(slots=True)
class _Bound:
    rows: int
    patience: int = PATIENCE
    held: int = 0


class Capacity:
    """`max_rows` is the operator's bound. Buckets are remembered by value, the latest `BUCKETS_MAX` of them."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._bounds: OrderedDict[Hashable, _Bound] = OrderedDict()

    def of(self, bucket: Hashable) -> int:
        bound = self._bounds.get(bucket)
        return min(bound.rows, self.max_rows) if bound else self.max_rows

    def ran_out(self, bucket: Hashable, rows: int) -> None:
        """Memory did not suffice for `rows`: half of them from now on."""
        bound = self._bounds.pop(bucket, None)
        patience = PATIENCE if bound is None else min(bound.patience * 2, PATIENCE_MAX)
        self._bounds[bucket] = _Bound(rows=max(rows // 2, 1), patience=patience)
        while len(self._bounds) > BUCKETS_MAX:
            self._bounds.popitem(last=False)

    def held(self, bucket: Hashable, rows: int) -> None:
        """A forward of `rows` went well. Only full ones say anything about the bound."""
        bound = self._bounds.get(bucket)
        if bound is None or rows * 2 <= bound.rows or bound.rows >= self.max_rows:
            return
        bound.held += 1
        if bound.held >= bound.patience:
            bound.rows, bound.held = bound.rows * 2, 0
