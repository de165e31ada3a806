"""A render worker whose engine draws a flat picture at once: everything else of it is the real one.

For tests and benchmarks of what stands around the engine. INSTANT_RENDER_S makes each render take that long; a prompt
with the word "slowly" takes so long that a test must cancel it, and tells its progress meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from PIL import Image

from inference.engine import EngineImage, EngineOutput, EngineStatus, RenderFailed
from inference.engine.outputs import JobProgress
from inference.engine.spec import ModelRef, RenderSpec

RENDER_S = float(os.environ.get("INSTANT_RENDER_S") or 0)
SLOW_RENDER_S = 300.0
Listener = Callable[[dict[str, Any]], None]


class InstantJob:
    def __init__(self, spec: RenderSpec, listener: Listener | None = None) -> None:
        self._spec, self._listener = spec, listener
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def result(self, timeout: float | None = None) -> EngineOutput:
        spec = self._spec
        if self._listener:
            self._listener({"type": "preview", "preview": flat(spec, spec.seed)})
        if self._cancelled.wait(SLOW_RENDER_S if is_slow(spec) else RENDER_S):
            raise RenderFailed(code="cancelled", message="The generation was cancelled.")
        images = [
            EngineImage(index=index, seed=spec.seed + index, image=flat(spec, spec.seed + index))
            for index in range(spec.samples)
        ]
        return EngineOutput(images=images, run_ms=int(RENDER_S * 1000) + 1, gpu_time_ms=1)


def is_slow(spec: RenderSpec) -> bool:
    return "slowly" in spec.prompt


def flat(spec: RenderSpec, seed: int) -> Image.Image:
    return Image.new("RGB", (spec.width_px, spec.height_px), (seed % 256, seed // 256 % 256, 128))


class InstantEngine:
    """The engine's interface without its work."""

    def __init__(self) -> None:
        self._slow: dict[str, JobProgress] = {}

    def submit(
        self,
        spec: RenderSpec,
        inputs: Mapping[str, Image.Image] | None = None,
        on_event: Listener | None = None,
    ) -> InstantJob:
        if is_slow(spec):
            steps = spec.num_inference_steps
            half = steps // 2
            told = JobProgress(images_done=0, images=1, step=half, steps=steps, steps_done=half, state="drawing")
            self._slow[spec.token] = told
        return InstantJob(spec, on_event)

    def status(self) -> EngineStatus:
        return EngineStatus(device="none", dtype="none", progress=dict(self._slow))

    def preload(self, ref: ModelRef) -> Future[int]:
        """Everything is loaded."""
        return _done(0)

    def evict(self, model_id: str) -> Future[bool]:
        """Nothing is resident."""
        return _done(False)

    def pin(self, model_id: str, pinned: bool) -> Future[None]:
        """Nothing is resident."""
        return _done(None)


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


if __name__ == "__main__":
    from inference import worker

    worker.app.set_default()
    worker.serve(InstantEngine())  # type: ignore[arg-type]
