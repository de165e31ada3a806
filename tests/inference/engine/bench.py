"""A render loop that tests turn by hand, so that joining, cancelling and fairness happen at a known step.

It records the exact pixels before they become 8-bit, to compare them with those of plain diffusers pipelines.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from inference.engine.loading import Loader
from inference.engine.loop import Loop
from inference.engine.outputs import EngineOutput
from inference.engine.parts import PartLoader
from inference.engine.pool import Pool
from inference.engine.settings import EngineSettings
from inference.engine.spec import Family, ModelRef, Operation, RenderSpec
from inference.engine.stepping import Stepper
from inference.engine.work import Job, Row

torch.set_num_threads(1)
PROMPT, NEGATIVE = "a photo of red cat", "blue dog"
_tokens = itertools.count(1)


class RecordingStepper(Stepper):
    """Keeps each finished picture's pixels (0..1) by token and index, and the rows of every forward."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pixels: dict[tuple[str, int], torch.Tensor] = {}
        self.forwards: list[list[tuple[str, int]]] = []

    def step(self, rows: list[Row]) -> None:
        self.forwards.append([(row.work.spec.token, row.index) for row in rows])
        super().step(rows)

    def deliver(self, row: Row, pixels: torch.Tensor) -> None:
        self.pixels[row.work.spec.token, row.index] = (pixels / 2 + 0.5).clamp(0, 1)
        super().deliver(row, pixels)


class Bench:
    def __init__(self, model_dir: Path, *, clock: Callable[[], float] = time.monotonic, **settings: Any) -> None:
        self.settings = EngineSettings(model_dir=model_dir, device="cpu", **settings)
        loader = PartLoader(Loader(self.settings, torch.device("cpu"), torch.float32))
        self.pool = Pool(loader, self.settings.memory_budget_bytes or 2**30, lambda: None)
        self.loop = Loop(self.settings, self.pool, torch.device("cpu"), torch.float32, clock)
        self.recorded = RecordingStepper(self.settings, self.loop.tally, self.loop.relief)
        self.loop.stepper = self.recorded
        self.pool.open()

    def close(self) -> None:
        self.pool.close()

    def submit(self, spec: RenderSpec, inputs: Mapping[str, Image.Image] | None = None, listener: Any = None) -> Job:
        job = Job(spec, inputs or {}, listener, self.loop.clock())
        self.loop.inbox.put(job)
        return job

    def turn(self, times: int = 1) -> None:
        """That many turns in which the device did something; loads in between do not count."""
        for _ in range(times):
            self._until(self.loop.turn)

    def finish(self, *jobs: Job) -> list[EngineOutput]:
        self._until(lambda: (self.loop.turn() and False) or all(job.done for job in jobs))
        return [job.result(0) for job in jobs]

    def draw(self, spec: RenderSpec, inputs: Mapping[str, Image.Image] | None = None) -> torch.Tensor:
        """The pixels of the first image of a job that has the engine to itself."""
        self.finish(self.submit(spec, inputs))
        return self.recorded.pixels[spec.token, 0]

    def _until(self, reached: Callable[[], bool], timeout_s: float = 60) -> None:
        end_s = time.monotonic() + timeout_s
        while not reached():
            assert time.monotonic() < end_s, "The loop made no progress."
            time.sleep(0.002)


def model(source: str, family: Family = Family.SD15, **more: Any) -> ModelRef:
    return ModelRef(model_id=source, family=family, source=source, **more)


def spec(ref: ModelRef, **fields: Any) -> RenderSpec:
    """A small job with a token of its own; `fields` are those of RenderSpec."""
    defaults: dict[str, Any] = {
        "token": f"t{next(_tokens)}",
        "account": "alice",
        "operation": Operation.TEXT_TO_IMAGE,
        "model": ref,
        "prompt": PROMPT,
        "width_px": 64,
        "height_px": 64,
        "num_inference_steps": 4,
        "seed": 7,
    }
    return RenderSpec(**(defaults | fields))


def noise_picture(side_px: int = 64, seed: int = 0) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (side_px, side_px, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(levels.numpy())


def half_mask(side_px: int = 64) -> Image.Image:
    """White (repaint) on the left."""
    mask = Image.new("L", (side_px, side_px), 0)
    mask.paste(255, (0, 0, side_px // 2, side_px))
    return mask


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference between two pictures of 0..1."""
    assert a.shape == b.shape
    return float((a.float() - b.float()).abs().max())
