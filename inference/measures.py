"""What a render worker counts of its own work: for typical waits, the console and margins."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LAST_RENDERS = 200
# How full forwards are is told over this time, in samples of heartbeats.
FILL_OVER_S, FILL_SAMPLES_MAX = 300.0, 400
Batches = Mapping[str, tuple[int, int]]


def _last_renders() -> deque[int]:
    return deque(maxlen=LAST_RENDERS)


def percentile(values: deque[int], share: float) -> int | None:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None


@dataclass(slots=True)
class Measures:
    """Times are milliseconds, of the last renders alone; `load_ms` has those that waited for a model to be loaded."""

    run_ms: deque[int] = field(default_factory=_last_renders)
    wait_ms: deque[int] = field(default_factory=_last_renders)
    load_ms: deque[int] = field(default_factory=_last_renders)
    images: int = 0
    failures: int = 0
    cold_starts: int = 0

    def rendered(self, *, images: int, wait_ms: int, load_ms: int, run_ms: int) -> None:
        self.images += images
        self.run_ms.append(run_ms)
        self.wait_ms.append(wait_ms)
        if load_ms:
            self.cold_starts += 1
            self.load_ms.append(load_ms)

    def told(self) -> dict[str, int | None]:
        """As a report says it."""
        return {
            "images": self.images,
            "failures": self.failures,
            "cold_starts": self.cold_starts,
            "run_ms_p50": percentile(self.run_ms, 0.5),
            "run_ms_p95": percentile(self.run_ms, 0.95),
            "wait_ms_p50": percentile(self.wait_ms, 0.5),
            "load_ms_p50": percentile(self.load_ms, 0.5),
        }


class Fill:
    """How many rows a forward had lately, by model: from the engine's ever-growing counts of forwards and rows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, Batches]] = deque(maxlen=FILL_SAMPLES_MAX)

    def rows_per_forward(self, batches: Batches) -> dict[str, float]:
        """Of models with a forward in the last FILL_OVER_S. `batches` has each model's forwards and rows since the
        process began."""
        now_s = self._clock()
        self._samples.append((now_s, dict(batches)))
        while now_s - self._samples[0][0] > FILL_OVER_S and len(self._samples) > 1:
            self._samples.popleft()
        before = self._samples[0][1]
        found = {}
        for model_id, (forwards, rows) in batches.items():
            forwards_then, rows_then = before.get(model_id, (0, 0))
            if forwards > forwards_then:
                found[model_id] = round((rows - rows_then) / (forwards - forwards_then), 2)
        return found
