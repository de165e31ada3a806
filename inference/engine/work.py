"""A job inside the loop, and its images under way. Only the device's thread touches these."""

from __future__ import annotations

import math
import threading
import traceback
from collections import deque
from collections.abc import Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from inference.engine import events
from inference.engine.drawing import DRAWS, Drawing
from inference.engine.errors import RenderFailed, is_out_of_memory
from inference.engine.families.base import Sample
from inference.engine.outputs import EngineImage, EngineOutput, JobProgress
from inference.engine.parts import PartRef
from inference.engine.pool import Resident
from inference.engine.report import Report
from inference.engine.spec import RenderSpec


class Job:
    """The caller's end of a job. Every method may be called from any thread."""

    def __init__(
        self, spec: RenderSpec, inputs: Mapping[str, Image.Image], listener: events.Listener | None, now_s: float
    ) -> None:
        self.spec, self.inputs, self.listener = spec, inputs, listener
        self.submitted_s = now_s
        self.future: Future[EngineOutput] = Future()
        self._cancelled = threading.Event()

    def result(self, timeout: float | None = None) -> EngineOutput:
        """The pictures, or RenderFailed when there is none. TimeoutError when it takes longer; the job goes on."""
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Takes effect at the next step; `result` then raises RenderFailed with the code "cancelled"."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def done(self) -> bool:
        return self.future.done()


@dataclass(eq=False, slots=True)
class Work:
    """A job's state. It waits for its parts, starts, and ends when no image is left to draw."""

    job: Job
    refs: tuple[PartRef, ...]
    pending: deque[int]
    report: Report = field(default_factory=Report)
    borrowed: dict[PartRef, Resident] = field(default_factory=dict)
    drawing: Drawing | None = None
    rows: list[Row] = field(default_factory=list)
    images: list[EngineImage] = field(default_factory=list)
    error: RenderFailed | None = None
    missed_s: float | None = None
    load_s: float = 0.0
    started_s: float | None = None
    device_s: float = 0.0
    passed: int = 0
    previewed_s: float = -math.inf

    @property
    def spec(self) -> RenderSpec:
        return self.job.spec

    @property
    def account(self) -> str:
        return self.spec.account

    @property
    def started(self) -> bool:
        return self.started_s is not None

    @property
    def exhausted(self) -> bool:
        return self.started and not self.pending and not self.rows

    @property
    def draws(self) -> bool:
        return self.spec.operation in DRAWS

    @property
    def watched(self) -> bool:
        """Whether previews are for somebody. Where pictures are checked, none is shown before its check."""
        return bool(self.job.listener and self.spec.preview_key) and not self.spec.safety.enabled

    def parts(self) -> dict[PartRef, Any]:
        return {ref: resident.part.value for ref, resident in self.borrowed.items()}

    def fail(self, failure: RenderFailed) -> None:
        """Nothing more will be drawn; what is drawn already stays."""
        self.error = failure
        self.pending.clear()
        self.rows.clear()

    def tell(self, kind: str, index: int, step: int = 0, steps: int = 0, **more: Any) -> None:
        event = {"type": kind, "token": self.spec.token, "index": index, "step": step, "steps": steps}
        events.send(self.job.listener, event | more)

    def output(self, now_s: float) -> EngineOutput:
        started_s = now_s if self.started_s is None else self.started_s
        wait_s = started_s - self.job.submitted_s - self.load_s
        return EngineOutput(
            images=sorted(self.images, key=lambda image: image.index),
            used=self.report.used,
            notes=tuple(self.report.notes),
            load_ms=round(self.load_s * 1000),
            wait_ms=max(round(wait_s * 1000), 0),
            run_ms=round((now_s - started_s) * 1000),
            gpu_time_ms=max(round(self.device_s * 1000), 1),
            error=self.error,
        )

    def end(self, now_s: float) -> None:
        """Hand over: the pictures there are, else the reason why there are none. A cancelled job delivers nothing."""
        if self.job.future.done():
            return
        if self.images and not (self.error and self.error.code == "cancelled"):
            self.job.future.set_result(self.output(now_s))
        else:
            nothing = RenderFailed(code="failed", message="No picture was drawn.")
            self.job.future.set_exception(self.error or nothing)

    def progress(self) -> JobProgress:
        state = "drawing" if self.started else "loading" if self.missed_s is not None else "waiting"
        drawn = [row.sample for row in self.rows if row.sample]
        furthest = max(drawn, key=lambda s: s.step / s.steps, default=None)
        step, steps = furthest.progress if furthest else (0, self.spec.num_inference_steps)
        return JobProgress(
            images_done=len(self.images),
            images=self.spec.samples,
            step=step,
            steps=steps,
            steps_done=len(self.images) * steps + sum(sample.progress[0] for sample in drawn),
            state=state,
        )


@dataclass(eq=False, slots=True)
class Row:
    """One image under way, or one whole operation without steps (then `sample` is None). A candidate for a turn."""

    work: Work
    index: int
    bucket: Hashable
    sample: Sample | None = None
    cost: float = 0.0

    @property
    def account(self) -> str:
        return self.work.account

    @property
    def weight(self) -> int:
        return self.sample.rows if self.sample else 1

    def deliver(self, image: Image.Image, *, flagged: bool) -> None:
        seed = self.work.spec.seed + self.index
        self.work.images.append(EngineImage(index=self.index, seed=seed, image=image, flagged=flagged))
        self.work.rows.remove(self)
        steps = self.sample.progress[1] if self.sample else 1
        self.work.tell("finished", self.index, steps, steps)


def failure_of(error: BaseException) -> RenderFailed:
    """Any exception of a job as the one error that callers know."""
    if isinstance(error, RenderFailed):
        return error
    # As text: the exception itself would keep every tensor of its frames in memory.
    trace = "".join(traceback.format_exception(error))
    if is_out_of_memory(error):
        message = "The device's memory does not suffice for this picture. Ask for a smaller one."
        return RenderFailed(code="out_of_memory", message=message, retryable=True, trace=trace)
    message = f"The engine failed: {type(error).__name__}."
    return RenderFailed(code="engine_error", message=message, retryable=True, trace=trace)
