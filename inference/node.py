"""One render worker: its engine, its storage, what it works on, and what it tells the gateway about itself.

It knows no database and no Django: work comes in as messages, outcomes and heartbeats go out as messages, pictures go
through storage. Losing any of it costs a lease, which another worker then gets.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import signal
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from PIL import Image

from inference.broker import LOG_TASK, OUTCOME_TASK
from inference.engine import EngineImage, EngineOutput, RenderFailed
from inference.engine.parameters import parameters_text
from inference.engine.spec import ModelRef, RenderedImage, RenderResult, RenderSpec
from inference.log_tail import masked, tail
from inference.machine import Machine
from inference.measures import Fill, Measures
from inference.pictures import encode, input_keys
from inference.storage import Storage
from inference.watching import Watch

if TYPE_CHECKING:
    from inference.engine import Engine

logger = logging.getLogger(__name__)

HEARTBEAT_IDLE_S, HEARTBEAT_BUSY_S = 5.0, 2.0
# Watched renders are told of between heartbeats, all of them in one message.
PROGRESS_PAUSE_S = 0.4
# Outcomes are kept this long, in case their message or whoever took it is lost.
OUTCOME_KEPT_S, OUTCOMES_KEPT_MAX = 120.0, 1000
# An outcome younger than this is still on its way.
OUTCOME_OVERDUE_S = 3.0
# A restart waits so long for what is under way; the rest is given back. It ends once nothing has come for a moment: by
# then the dispatcher has heard that no more is wanted.
RESTART_PATIENCE_S, RESTART_CALM_S = 300.0, 3.0
TRACE_CHARACTERS_MAX = 4000
VERSION = "1"
Send = Callable[[str, list[Any]], None]


@dataclass(slots=True)
class Work:
    """One attempt in progress here. `job` is the engine's handle once it is submitted."""

    generation_id: int
    attempt: int
    token: str
    steps: int
    job: Any = None
    watch: Watch | None = None
    cancelled: bool = False
    given_back: bool = False


def terminate() -> None:
    """End this process as its supervisor would: what is under way is finished first."""
    os.kill(os.getpid(), signal.SIGTERM)


class RenderNode:
    """`send(task_name, args)` posts a message to the gateway's outcome queue; `end()` ends the process."""

    def __init__(
        self,
        *,
        name: str,
        slots: int,
        engine: Engine,
        storage: Storage,
        send: Send,
        serves: tuple[str, ...] = (),
        end: Callable[[], None] = terminate,
    ) -> None:
        self.name, self.slots, self.serves = name, slots, serves
        self.engine, self.storage, self._send, self._end = engine, storage, send, end
        self.draining = self.restarting = False
        self.measures, self._fill = Measures(), Fill()
        self._machine = Machine(engine.status().device_uuid)
        self._working: dict[tuple[int, int], Work] = {}
        self._outcomes: OrderedDict[tuple[int, int], tuple[float, RenderResult]] = OrderedDict()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._moved = threading.Event()
        self._tell_now = threading.Event()
        self._files = ThreadPoolExecutor(max_workers=4, thread_name_prefix="files")
        self._started = time.monotonic()

    # --- rendering ---------------------------------------------------------------------------------------------

    def render(self, generation_id: int, attempt: int, spec: RenderSpec) -> RenderResult | None:
        """Render one attempt and store its pictures; None when this very attempt is under way here already.

        An attempt that is finished here gives its outcome again without a second render.
        """
        work = Work(generation_id, attempt, spec.token, spec.num_inference_steps * spec.samples)
        with self._lock:
            if (generation_id, attempt) in self._outcomes:
                return self._outcomes[generation_id, attempt][1]
            if (generation_id, attempt) in self._working:
                return None
            self._working[generation_id, attempt] = work
        if spec.preview_key:
            work.watch = Watch(key=spec.preview_key, storage=self.storage, files=self._files, moved=self._moved)
        try:
            result = self._render(generation_id, attempt, spec, work)
        finally:
            if work.watch:
                work.watch.end()
        with self._lock:
            del self._working[generation_id, attempt]
            self._outcomes[generation_id, attempt] = time.monotonic(), result
        return result

    def _render(self, generation_id: int, attempt: int, spec: RenderSpec, work: Work) -> RenderResult:
        try:
            return self._rendered(spec, work)
        except RenderFailed as problem:
            if work.given_back:
                return _failure(spec, attempt, "shutting_down", "The render worker restarts.", True)
            self.measures.failures += 1
            trace = problem.trace or (_trace(problem) if problem.__cause__ else "")
            return _failure(spec, attempt, problem.code, problem.message, problem.retryable, trace)
        except Exception as problem:
            self.measures.failures += 1
            logger.exception("Generation %s failed", generation_id)
            message = f"The render worker failed: {type(problem).__name__}."
            return _failure(spec, attempt, "render_failed", message, True, _trace(problem))

    def _rendered(self, spec: RenderSpec, work: Work) -> RenderResult:
        inputs = {key: self._open(key) for key in input_keys(spec)}
        work.job = self.engine.submit(spec, inputs=inputs, on_event=work.watch.listen if work.watch else None)
        if work.cancelled:
            work.job.cancel()
        output: EngineOutput = work.job.result(timeout=spec.deadline_s)
        images = tuple(self._files.map(lambda image: self._store(spec, image, output.used), output.images))
        self.measures.rendered(images=len(images), wait_ms=output.wait_ms, load_ms=output.load_ms, run_ms=output.run_ms)
        error = output.error
        return RenderResult(
            token=spec.token,
            attempt=work.attempt,
            images=images,
            used=output.used,
            notes=output.notes,
            load_ms=output.load_ms,
            wait_ms=output.wait_ms,
            run_ms=output.run_ms,
            gpu_time_ms=output.gpu_time_ms,
            error_code=error.code if error else "",
            error_message=error.message if error else "",
        )

    def _open(self, key: str) -> Image.Image:
        image = Image.open(io.BytesIO(self.storage.read(key)))
        image.load()
        return image

    def _store(self, spec: RenderSpec, image: EngineImage, used: dict[str, Any]) -> RenderedImage:
        key = spec.output_keys[image.index]
        parameters = parameters_text(spec, used, seed=image.seed)
        data, content_type = encode(image.image, key=key, parameters=parameters)
        self.storage.write(key, data, content_type)
        return RenderedImage(
            index=image.index,
            key=key,
            seed=image.seed,
            width_px=image.image.width,
            height_px=image.image.height,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            flagged=image.flagged,
        )

    # --- control -----------------------------------------------------------------------------------------------

    def control(self, command: str, arguments: dict[str, Any]) -> None:
        """What the gateway asks: repeat, cancel, evict, preload, pin, drain, restart, log. Unknown ones are a newer
        gateway's."""
        if command == "repeat":
            self._repeat(arguments["outcomes"])
        elif command == "cancel":
            self._cancel(arguments["generation_id"], arguments["attempt"])
        elif command == "evict":
            self._tell_after(self.engine.evict(arguments["model_id"]))
        elif command == "preload":
            self._tell_after(self.engine.preload(ModelRef.from_dict(arguments["model"])))
        elif command == "pin":
            self._tell_after(self.engine.pin(arguments["model_id"], arguments["pinned"]))
        elif command == "drain":
            self.draining = arguments["draining"] or self.restarting
            self._tell_now.set()
        elif command == "restart":
            self._restart()
        elif command == "log":
            self._send(LOG_TASK, [self.name, tail.lines(arguments["lines"])])
        else:
            logger.warning("Unknown command %s", command)

    def _tell_after(self, command: Future[Any]) -> None:
        """Whoever gave the command sees what it did as soon as it is done, not at the next heartbeat."""
        command.add_done_callback(lambda _: self._tell_now.set())

    def _repeat(self, attempts: list[list[int]]) -> None:
        for generation_id, attempt in attempts:
            kept = self._outcomes.get((generation_id, attempt))
            if kept:
                self._send(OUTCOME_TASK, [generation_id, kept[1].to_dict()])

    def _cancel(self, generation_id: int, attempt: int) -> None:
        with self._lock:
            work = self._working.get((generation_id, attempt))
        if work:
            work.cancelled = True
            if work.job:
                work.job.cancel()

    def _restart(self) -> None:
        """Take no more work, and end the process once what is under way is done. Asked twice it happens once."""
        with self._lock:
            if self.restarting:
                return
            self.restarting = self.draining = True
        self._tell_now.set()
        threading.Thread(target=self._end_when_done, name="restart", daemon=True).start()

    def _end_when_done(self) -> None:
        deadline = time.monotonic() + RESTART_PATIENCE_S
        calm_since = time.monotonic()
        while time.monotonic() < deadline and not self._stopping.wait(0.1):
            if self._working:
                calm_since = time.monotonic()
            elif time.monotonic() - calm_since >= RESTART_CALM_S:
                break
        with self._lock:
            left = list(self._working.values())
        for work in left:
            work.given_back = True
            if work.job:
                work.job.cancel()
        self._end()

    # --- telling -----------------------------------------------------------------------------------------------

    def _tell(self, task: str, facts: Callable[[], Any]) -> None:
        """Send what there is to tell. Whatever goes wrong, the next telling must come: a silent worker gets no work."""
        try:
            if told := facts():
                self._send(task, [self.name, told])
        except (OperationalError, OSError) as problem:
            logger.warning("The broker is away, %s waits: %s", task, problem)
        except Exception:
            logger.exception("%s could not be told and will be again", task)

    def heartbeat_forever(self, task: str) -> None:
        """Tell the gateway every few seconds; a broker that is away is tried again at the next beat."""
        while not self._stopping.is_set():
            self._tell(task, self.report)
            self._tell_now.wait(HEARTBEAT_BUSY_S if self._working else HEARTBEAT_IDLE_S)
            self._tell_now.clear()

    def progress_forever(self, task: str) -> None:
        """Tell the steps of what is watched as they come, a few times a second; the others' go with the heartbeat."""
        while not self._stopping.is_set():
            self._moved.wait()
            self._moved.clear()
            self._tell(task, self.watched)
            self._stopping.wait(PROGRESS_PAUSE_S)

    def watched(self) -> list[dict[str, Any]]:
        """How far the watched renders are, as in a report."""
        status = self.engine.status()
        with self._lock:
            working = [work for work in self._working.values() if work.watch]
        return [self._progress(work, status) for work in working]

    def goodbye(self, task: str) -> None:
        """The last message: this worker takes no more work."""
        self._stopping.set()
        self._moved.set()
        self._tell_now.set()
        self._send(task, [self.name, self.report() | {"state": "lost", "running": []}])

    def report(self) -> dict[str, Any]:
        status = self.engine.status()
        with self._lock:
            working = list(self._working.values())
        return {
            "state": self._state(working),
            "slots": self.slots,
            "serves": list(self.serves),
            "resident": [model.model_id for model in status.resident],
            "resident_models": [
                {"model_id": one.model_id, "kind": one.kind, "bytes": one.bytes, "pinned": one.pinned}
                for one in status.resident
            ],
            "pinned": list(status.pinned),
            "running": [self._progress(work, status) for work in working],
            "finished": self._overdue(),
            "version": VERSION,
            "device": status.device,
            "memory_used_bytes": status.memory_used_bytes,
            "memory_budget_bytes": status.memory_budget_bytes,
            "loading": status.loading,
            "active_rows": status.active_rows,
            "max_rows": status.max_rows,
            "rows_per_forward": self._fill.rows_per_forward(status.batches),
            "machine": self._machine.facts(),
            "restarting": self.restarting,
            **self.measures.told(),
            "oom_count": status.oom_count,
            "uptime_s": int(time.monotonic() - self._started),
            "cost_microusd_per_hour": int(os.environ.get("RENDER_COST_MICROUSD_PER_HOUR") or 0),
            "owner_account_id": int(os.environ.get("RENDER_OWNER_ACCOUNT_ID") or 0) or None,
        }

    def _overdue(self) -> list[list[int]]:
        """Attempts whose outcomes should have arrived by now; the gateway asks again for those that did not."""
        now = time.monotonic()
        with self._lock:
            while self._outcomes:
                at, _ = next(iter(self._outcomes.values()))
                if now - at < OUTCOME_KEPT_S and len(self._outcomes) <= OUTCOMES_KEPT_MAX:
                    break
                self._outcomes.popitem(last=False)
            return [list(key) for key, (at, _) in self._outcomes.items() if now - at >= OUTCOME_OVERDUE_S]

    def _state(self, working: list[Work]) -> str:
        if self.draining:
            return "draining"
        return "busy" if working else "idle"

    def _progress(self, work: Work, status: Any) -> dict[str, Any]:
        progress = status.progress.get(work.token)
        # A picture drawn from another one has fewer steps than asked for: the share counts.
        share = progress.steps_done / max(progress.images * progress.steps, 1) if progress else 0.0
        return {
            "generation_id": work.generation_id,
            "attempt": work.attempt,
            "step": min(int(share * work.steps), work.steps),
            "steps": work.steps,
        }


def _failure(spec: RenderSpec, attempt: int, code: str, message: str, retryable: bool, trace: str = "") -> RenderResult:
    return RenderResult(
        token=spec.token,
        attempt=attempt,
        error_code=code,
        error_message=message,
        retryable=retryable,
        trace=masked(trace)[-TRACE_CHARACTERS_MAX:],
    )


def _trace(problem: BaseException) -> str:
    return "".join(traceback.format_exception(problem))
