"""What the engine hands back: pictures, what was really used, timings, and its own state. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from inference.engine.errors import RenderFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineImage:
    """One delivered picture: `index` is its place in `samples`, `seed` is the one that it was drawn from."""

    index: int
    seed: int
    image: Image.Image
    flagged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOutput:
    """`images` may be fewer than asked; `error` then says why the rest is missing.

    `used` holds the fields of the RenderSpec that the engine changed, with the value it used; `notes` says in words
    what had no effect. `gpu_time_ms` is this job's share of the device: a forward of four rows counts a quarter for
    each. `load_ms` is the part of the waiting that went into loading models.
    """

    images: list[EngineImage]
    used: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    load_ms: int = 0
    wait_ms: int = 0
    run_ms: int = 0
    gpu_time_ms: int = 0
    error: RenderFailed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentModel:
    """A model (or ControlNet, VAE, upscaler) in memory. Shared parts count for the first that brought them."""

    model_id: str
    kind: str
    source: str
    bytes: int
    pinned: bool
    borrowed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job is: images done of those asked, the step of the image that is furthest, and the steps of all."""

    images_done: int
    images: int
    step: int
    steps: int
    steps_done: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A snapshot, taken between two steps."""

    device: str
    dtype: str
    device_uuid: str = ""
    """The driver's name of the device, where it has one."""
    resident: tuple[ResidentModel, ...] = ()
    loading: str = ""
    pinned: tuple[str, ...] = ()
    """What stays in memory once it is there, loaded or not."""
    memory_budget_bytes: int = 0
    memory_used_bytes: int = 0
    active_rows: int = 0
    waiting: int = 0
    images_done: int = 0
    forwards: int = 0
    forward_rows: int = 0
    batches: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Forwards and rows by model, since the engine began."""
    max_rows: int = 0
    oom_count: int = 0
    progress: dict[str, JobProgress] = field(default_factory=dict)
