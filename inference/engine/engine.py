"""The engine's front door: thread-safe, and nothing is computed here."""

from __future__ import annotations

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

from inference.engine.loading import Loader
from inference.engine.loop import Loop
from inference.engine.outputs import EngineStatus
from inference.engine.parts import PartKind, PartLoader, PartRef
from inference.engine.pool import Pool
from inference.engine.settings import EngineSettings
from inference.engine.spec import ModelRef, RenderSpec
from inference.engine.work import Job

__all__ = ["Engine", "Job"]
# What is left to the activations of a full forward and to other processes.
GPU_SHARE, CPU_SHARE = 0.8, 0.5


class Engine:
    """Renders jobs on one device. `submit` returns at once; the engine's own thread does the work."""

    def __init__(self, settings: EngineSettings) -> None:
        _quieten()
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

    def submit(
        self,
        spec: RenderSpec,
        inputs: Mapping[str, Image.Image] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> Job:
        """`inputs` holds the pictures that the spec names by key. `on_event` is called on the engine's thread."""
        job = Job(spec, dict(inputs or {}), on_event, time.monotonic())
        self._loop.inbox.put(job)
        return job

    def status(self) -> EngineStatus:
        return self._loop.snapshot

    def preload(self, ref: ModelRef) -> Future[int]:
        """Load a model before anyone asks for it. The future tells the milliseconds, or raises RenderFailed."""
        future: Future[int] = Future()
        part = PartRef(PartKind.MODEL, ref.source, ref)
        self._loop.inbox.put(lambda loop: loop.preload(part, future))
        return future

    def evict(self, model_id: str) -> Future[bool]:
        """Drop a model from memory unless a job uses it. The future tells whether it went."""
        future: Future[bool] = Future()
        self._loop.inbox.put(lambda loop: future.set_result(loop.pool.evict(model_id)))
        return future

    def pin(self, model_id: str, pinned: bool) -> None:
        """A pinned model is never evicted to make room."""
        self._loop.inbox.put(lambda loop: loop.pool.pin(model_id, pinned))

    def close(self, timeout: float = 60) -> None:
        """Fail what is under way as retryable, and free everything."""
        self._loop.inbox.put(Loop.stop)
        self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wake(self) -> None:
        self._loop.inbox.put(None)


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
