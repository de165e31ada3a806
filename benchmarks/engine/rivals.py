"""Three ways to draw the same pictures: a plain pipeline one by one, one plain batch, the engine's shared steps.

All of them run in this process on the same weights, one thread, and draw equal work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

from inference.engine import Engine, EngineSettings
from inference.engine.spec import Family, ModelRef, Operation, RenderSpec

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "white", "black")
SHAPES = ("circle", "square", "star", "triangle", "ring", "heart", "cross", "diamond")


def prompt(number: int) -> str:
    """Different for every customer, so that nothing that was read for one serves another."""
    colour, shape = COLOURS[number % 8], SHAPES[(number // 8 + number) % 8]
    return f"a {colour} {shape} on a {COLOURS[(number + 1 + number // 8) % 8]} background"


@dataclass(frozen=True, slots=True)
class Work:
    """What is drawn: the model's folder, one picture's size, steps and guidance, and on what."""

    name: str
    folder: Path
    side_px: int
    steps: int
    guidance: float = 5.0
    family: Family = Family.SD15
    device: str = "cpu"
    dtype: str = "float32"

    def spec(self, number: int, *, watched: bool = False) -> RenderSpec:
        ref = ModelRef(model_id=self.name, family=self.family, source=str(self.folder.absolute()))
        return RenderSpec(
            token=f"{self.name}-{number}",
            account=f"customer-{number}",
            operation=Operation.TEXT_TO_IMAGE,
            model=ref,
            prompt=prompt(number),
            width_px=self.side_px,
            height_px=self.side_px,
            seed=number,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            preview_key="temp/4000000000-preview.jpg" if watched else "",
        )


class Plain:
    """The pipeline as its documentation uses it, without a safety checker and without a progress bar."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.pipe: Any = DiffusionPipeline.from_pretrained(
            str(work.folder), torch_dtype=getattr(torch, work.dtype), safety_checker=None
        ).to(work.device)
        self.pipe.set_progress_bar_config(disable=True)

    def one_by_one(self, count: int) -> None:
        for number in range(count):
            self._draw([number])

    def one_batch(self, count: int) -> None:
        self._draw(list(range(count)))

    def _draw(self, numbers: list[int]) -> None:
        self.pipe(
            [prompt(number) for number in numbers],
            height=self.work.side_px,
            width=self.work.side_px,
            num_inference_steps=self.work.steps,
            guidance_scale=self.work.guidance,
            generator=[torch.Generator().manual_seed(number) for number in numbers],
        )


class Shared:
    """The engine with the requests of `count` customers at once."""

    def __init__(self, work: Work, rows_max: int = 32) -> None:
        self.work = work
        threads = 1 if work.device == "cpu" else 0
        self.engine = Engine(EngineSettings(device=work.device, dtype=work.dtype, threads=threads, max_rows=rows_max))

    def at_once(self, count: int, *, watched: bool = False) -> None:
        """`watched`: every customer looks at previews of his picture."""
        listener = _ignore if watched else None
        jobs = [
            self.engine.submit(self.work.spec(number, watched=watched), on_event=listener) for number in range(count)
        ]
        for job in jobs:
            job.result(600)

    def close(self) -> None:
        self.engine.close()


def _ignore(event: dict[str, Any]) -> None:
    """A listener that keeps nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The least that a run took: of several, the one that was disturbed least by the machine's other work.

    On a processor its time counts, on a GPU the time of the wall: there the processor only waits.
    """

    wall_s: float
    cpu_s: float

    def on(self, device: str) -> float:
        return self.cpu_s if device == "cpu" else self.wall_s


def measured(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, Cost]:
    """Each run `rounds` times, in turns, so that a slow minute of the machine hits all of them."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            run()
            costs[name].append((time.perf_counter() - wall_s, time.process_time() - cpu_s))
    return {name: Cost(min(w for w, _ in both), min(c for _, c in both)) for name, both in costs.items()}
