"""The device's thread: it owns the models and the device, and shares each step of the network between jobs.

One turn: take in what callers sent, drop what was cancelled, let the pool load and evict, start jobs whose models are
there, then one shared forward (or one operation without steps) for the accounts that were served least.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future

import torch

from inference.engine import operations, reading
from inference.engine.drawing import Drawing
from inference.engine.errors import RenderFailed
from inference.engine.fairness import FairShare
from inference.engine.outputs import EngineStatus, ResidentModel
from inference.engine.parts import PartRef
from inference.engine.pool import Pool
from inference.engine.relief import Relief
from inference.engine.settings import EngineSettings
from inference.engine.stepping import Stepper, cost_of
from inference.engine.tally import Tally
from inference.engine.work import Job, Row, Work, failure_of

logger = logging.getLogger(__name__)
IDLE_S = 0.5
# How many younger jobs may overtake one whose model has no room yet, before the others stop being started.
OVERTAKEN_MAX = 32
Command = Callable[["Loop"], None]


class Loop:
    """`clock` gives seconds; tests bring their own. Only `inbox` may be used from other threads."""

    def __init__(
        self,
        settings: EngineSettings,
        pool: Pool,
        device: torch.device,
        dtype: torch.dtype,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.pool, self.device, self.dtype, self.clock = settings, pool, device, dtype, clock
        self.inbox: queue.SimpleQueue[Job | Command | None] = queue.SimpleQueue()
        self.works: list[Work] = []
        self.preloads: dict[PartRef, Future[int]] = {}
        self.fair = FairShare()
        self.tally = Tally(clock)
        self.relief = Relief(pool, self.tally)
        self.stepper = Stepper(settings, self.tally, self.relief)
        self.closing = False
        # Commands that are done, told to whoever waits once the snapshot shows what they did.
        self.done: list[Callable[[], None]] = []
        self.device_uuid = _uuid_of(device)
        self.snapshot = self._status()

    # --- Turns --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        while not self.closing:
            try:
                idle = not self.turn() and not self.pool.may_order
                self._receive(wait=idle)
            except Exception as error:
                # Nothing may end this thread: it is the worker. Whoever was under way is told to try again.
                logger.exception("A turn of the engine failed.")
                for work in self.works:
                    work.fail(failure_of(error))
        self.refuse_all()
        self.pool.close()

    def refuse_all(self) -> None:
        """Give every job back as retryable, those that came last included."""
        self._receive(wait=False)
        for work in self.works:
            work.fail(RenderFailed(code="shutting_down", message="The worker is shutting down.", retryable=True))
        self._retire()

    def turn(self) -> bool:
        """Returns whether the device did something."""
        self._receive(wait=False)
        self._drop()
        self.pool.pump()
        self._preload()
        self._start_jobs()
        self._start_rows()
        busy = self._compute()
        self._retire()
        self.snapshot = self._status()
        while self.done:
            self.done.pop()()
        return busy

    def _receive(self, *, wait: bool) -> None:
        """Jobs and commands. While jobs wait (for a load, a deadline) the idle thread still looks up now and then."""
        timeout_s = IDLE_S if self.works or self.preloads else None
        with contextlib.suppress(queue.Empty):
            while True:
                message = self.inbox.get(block=wait, timeout=timeout_s)
                wait = False
                if isinstance(message, Job):
                    self._accept(message)
                elif message is not None:
                    message(self)

    def _accept(self, job: Job) -> None:
        try:
            refs = operations.needs(job.spec, self.settings)
        except RenderFailed as failure:
            job.future.set_exception(failure)
            return
        self.works.append(Work(job, refs, operations.pending(job.spec)))

    def _drop(self) -> None:
        now_s = self.clock()
        for work in self.works:
            if work.job.cancelled:
                work.fail(RenderFailed(code="cancelled", message="The job was cancelled."))
            elif now_s - work.job.submitted_s > work.spec.deadline_s:
                message = f"The job was not done within {work.spec.deadline_s:g} s."
                work.fail(RenderFailed(code="deadline_exceeded", message=message, retryable=True))
        self._retire()

    def _retire(self) -> None:
        """End the jobs that have nothing left to draw, and give back what they borrowed."""
        for work in [w for w in self.works if w.exhausted or w.error]:
            self.works.remove(work)
            self.pool.give_back(work.borrowed)
            work.borrowed = {}
            work.end(self.clock())

    # --- Commands -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        self.closing = True

    def preload(self, ref: PartRef, future: Future[int]) -> None:
        self.preloads[ref] = future

    def evict(self, model_id: str, future: Future[bool]) -> None:
        gone = self.pool.evict(model_id)
        self.done.append(lambda: future.set_result(gone))

    def pin(self, model_id: str, pinned: bool, future: Future[None]) -> None:
        self.pool.pin(model_id, pinned)
        self.done.append(lambda: future.set_result(None))

    # --- Starting -----------------------------------------------------------------------------------------------------

    def _preload(self) -> None:
        for ref, future in list(self.preloads.items()):
            try:
                if self.pool.want([ref]):
                    del self.preloads[ref]
                    load_ms = self.pool.residents[ref].load_ms
                    self.done.append(functools.partial(future.set_result, load_ms))
            except RenderFailed as failure:
                del self.preloads[ref]
                self.done.append(functools.partial(future.set_exception, failure))

    def _waiting(self) -> list[Work]:
        """Jobs not yet started, in the order in which they may: accounts take turns, the least served first."""
        places = {name: place for place, name in enumerate(self.fair.order(work.account for work in self.works))}
        turns = Counter(
            work.account for work in self.works for _ in (*work.rows, *(work.pending if work.started else ()))
        )
        ordered: list[tuple[int, int, int, Work]] = []
        for work in self.works:
            if not work.started and not work.error:
                ordered.append((turns[work.account], places[work.account], len(ordered), work))
                turns[work.account] += len(work.pending)
        return [entry[-1] for entry in sorted(ordered)]

    def _start_jobs(self) -> None:
        self.fair.enter(work.account for work in self.works)
        waiting = self._waiting()
        self.pool.forget([*self.preloads, *(ref for work in waiting for ref in work.refs)])
        self.pool.reserved = frozenset(waiting[0].refs if waiting else ())
        held_up = [work for work in waiting if work.passed >= OVERTAKEN_MAX and self.pool.blocked]
        started: list[Work] = []
        for work in held_up[:1] or waiting:
            if not self._may_start(work.account):
                continue
            with self.tally.blame([work]):
                if self._parts_ready(work):
                    self._start(work)
                    started.append(work)
                    for other in waiting:
                        other.passed += not other.started and other.missed_s is not None
        for group in reading.together(started):
            self._read(group)

    def _may_start(self, account: str) -> bool:
        """While there is a free place; and an account without any image under way always gets one."""
        under_way = [work for work in self.works if work.started]
        images = sum(len(work.rows) + len(work.pending) for work in under_way)
        return images < self.settings.max_active_images or all(work.account != account for work in under_way)

    def _parts_ready(self, work: Work) -> bool:
        now_s = self.clock()
        if not self.pool.want(work.refs):
            work.missed_s = now_s if work.missed_s is None else work.missed_s
            return False
        if work.missed_s is not None:
            work.load_s = now_s - work.missed_s
        work.borrowed = self.pool.borrow(work.refs)
        return True

    @torch.inference_mode()
    def _start(self, work: Work) -> None:
        work.started_s = self.clock()
        work.tell("started", 0)
        if work.draws:
            with self.tally.timed([work]):
                work.drawing = self.relief.second_try(
                    lambda: Drawing(work.spec, work.job.inputs, work.parts(), work.report, self.settings)
                )

    @torch.inference_mode()
    def _read(self, works: list[Work]) -> None:
        """The words of all at once; if that fails, each job's alone."""
        with self.tally.timed(works):
            if len(works) > 1:
                try:
                    reading.read(works)
                    return
                except Exception:
                    logger.exception("The words of %s jobs could not be read together.", len(works))
            for work in works:
                with self.tally.blame([work]):
                    self.relief.second_try(functools.partial(reading.read, [work]))

    @torch.inference_mode()
    def _start_rows(self) -> None:
        """Give free places to images, account by account in turn; no account waits for its first."""
        while ready := [work for work in self.works if work.started and work.pending]:
            under_way = Counter(work.account for work in self.works for _ in work.rows)
            work = min(ready, key=lambda w: under_way[w.account])
            if under_way.total() >= self.settings.max_active_images and under_way[work.account]:
                return
            index = work.pending.popleft()
            with self.tally.blame([work]), self.tally.timed([work]):
                work.rows.append(self._row(work, index))

    def _row(self, work: Work, index: int) -> Row:
        spec = work.spec
        if work.drawing is None:
            return Row(work, index, bucket=(spec.token, index), cost=operations.cost(spec))
        drawing = work.drawing
        sample = self.relief.second_try(lambda: drawing.sample(index))
        return Row(work, index, bucket=drawing.bucket(sample), sample=sample, cost=cost_of(sample))

    # --- Computing ----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _compute(self) -> bool:
        rows = self.fair.pick([row for work in self.works for row in work.rows], self.stepper.capacity.of)
        if not rows:
            return False
        works = [row.work for row in rows]
        with self.tally.timed(works):
            if rows[0].sample is None:
                with self.tally.blame(works):
                    self.relief.second_try(lambda: operations.run(rows[0], self.settings))
            else:
                self.stepper.step(rows)
        return True

    # --- State --------------------------------------------------------------------------------------------------------

    def _status(self) -> EngineStatus:
        pool = self.pool
        resident = tuple(
            ResidentModel(
                model_id=r.ref.label,
                kind=r.ref.kind,
                source=r.ref.source,
                bytes=pool.own_bytes(r),
                pinned=r.pinned,
                borrowed=r.borrowed,
            )
            for r in pool.residents.values()
        )
        return EngineStatus(
            device=str(self.device),
            dtype=str(self.dtype).removeprefix("torch."),
            device_uuid=self.device_uuid,
            resident=resident,
            loading=pool.loading.label if pool.loading else "",
            pinned=tuple(sorted(pool.pinned_labels)),
            memory_budget_bytes=pool.budget_bytes,
            memory_used_bytes=pool.used_bytes(),
            active_rows=sum(len(work.rows) for work in self.works),
            waiting=sum(not work.started for work in self.works),
            images_done=self.tally.counts["images_done"],
            forwards=self.tally.counts["forwards"],
            forward_rows=self.tally.counts["forward_rows"],
            batches=dict(self.tally.batches),
            max_rows=self.settings.max_rows,
            oom_count=self.tally.counts["oom"],
            progress={work.spec.token: work.progress() for work in self.works},
        )


def _uuid_of(device: torch.device) -> str:
    """As the driver's tools name it: whatever CUDA_VISIBLE_DEVICES hides, it is this one."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else ""
