"""The engine's front door: thread-safe, and nothing is computed here."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Self

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # Read by the hub's client when it is imported.

import diffusers
import torch
import transformers
from PIL import Image

from inference.engine.families import speed
from inference.engine.loading import Loader
from inference.engine.loop import Loop
from inference.engine.outputs import EngineOutput, EngineStatus
from inference.engine.parts import PartLoader, part_of
from inference.engine.pool import Pool
from inference.engine.settings import EngineSettings
from inference.engine.spec import Family, ModelRef, Operation, RenderSpec
from inference.engine.work import Job

__all__ = ["Engine", "Job"]
# The libraries' half a million objects stay as long as the process. Looking at them again took a quarter of a second at
# every change of models, while all running pictures waited.
gc.collect()
gc.freeze()
logger = logging.getLogger(__name__)
# What is left to the activations of a full forward and to other processes.
GPU_SHARE, CPU_SHARE = 0.8, 0.5
# The sizes that most calls ask for: kernels are chosen and compiled for them.
WARM_SIDES_PX = {"sd15": 512, "sdxl": 1024, "sd3": 1024, "flux": 1024}
WARM_SIDE_CPU_PX = 64


class Engine:
    """Renders jobs on one device. `submit` returns at once; the engine's own thread does the work."""

    def __init__(self, settings: EngineSettings) -> None:
        _quieten()
        speed.check(settings)
        self.settings = settings
        if settings.threads:
            torch.set_num_threads(settings.threads)
        device, dtype = _device(settings)
        loader = PartLoader(Loader(settings, device, dtype))
        pool = Pool(loader, settings.memory_budget_bytes or _budget_bytes(device), self._wake)
        self._loop = Loop(settings, pool, device, dtype)
        pool.open()
        self._thread = threading.Thread(target=self._loop.run, name="engine-device", daemon=True)
        self._thread.start()
        for named in settings.warm_models:
            self._warm(named)

    def submit(
        self,
        spec: RenderSpec,
        inputs: Mapping[str, Image.Image] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> Job:
        """`inputs` holds the pictures that the spec names by key. `on_event` is called on the engine's thread."""
        job = Job(spec, dict(inputs or {}), on_event, time.monotonic())
        self._loop.inbox.put(job)
        if not self._thread.is_alive():
            self._loop.refuse_all()  # Nobody would ever answer.
        return job

    def status(self) -> EngineStatus:
        return self._loop.snapshot

    def preload(self, ref: ModelRef) -> Future[int]:
        """Load a model before anyone asks for it. The future tells the milliseconds, or raises RenderFailed."""
        future: Future[int] = Future()
        part = part_of(ref)
        self._loop.inbox.put(lambda loop: loop.preload(part, future))
        return future

    def evict(self, model_id: str) -> Future[bool]:
        """Drop a model from memory unless it is pinned or a job uses it. The future tells whether it went."""
        future: Future[bool] = Future()
        self._loop.inbox.put(lambda loop: loop.evict(model_id, future))
        return future

    def pin(self, model_id: str, pinned: bool) -> Future[None]:
        """A pinned model is never evicted; it may be pinned before it is loaded."""
        future: Future[None] = Future()
        self._loop.inbox.put(lambda loop: loop.pin(model_id, pinned, future))
        return future

    def close(self, timeout: float = 60) -> None:
        """Fail what is under way as retryable, and free everything."""
        self._loop.inbox.put(Loop.stop)
        self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _warm(self, named: str) -> None:
        """Load the model and draw with it once, so that the first customer pays for neither."""
        family, _, source = named.partition(":")
        if not source or family not in WARM_SIDES_PX:
            raise ValueError(f"warm_models: {named!r} is not family:source with one of {', '.join(WARM_SIDES_PX)}.")
        side_px = WARM_SIDES_PX[family] if self._loop.device.type == "cuda" else WARM_SIDE_CPU_PX
        ref = ModelRef(model_id=source, family=Family(family), source=source)
        fields: dict[str, Any] = {"prompt": "warm", "num_inference_steps": 2, "width_px": side_px, "height_px": side_px}
        spec = RenderSpec(token=f"warm {source}", account="", operation=Operation.TEXT_TO_IMAGE, model=ref, **fields)
        self.submit(spec).future.add_done_callback(lambda done: _log_failure(source, done))

    def _wake(self) -> None:
        self._loop.inbox.put(None)


def _log_failure(source: str, done: Future[EngineOutput]) -> None:
    if done.exception():
        logger.warning("The model %s could not be warmed up: %s", source, done.exception())


def _quieten() -> None:
    """The libraries' progress bars and advice do not belong into a server's log."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def _device(settings: EngineSettings) -> tuple[torch.device, torch.dtype]:
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if settings.dtype == "auto":
        return device, torch.bfloat16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if settings.dtype not in known:
        raise ValueError(f"dtype must be auto or one of {', '.join(known)}, not {settings.dtype!r}.")
    return device, known[settings.dtype]


def _budget_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * GPU_SHARE)
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * CPU_SHARE)
