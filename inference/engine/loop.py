"""The device's thread: it owns the models and the device, and shares each step of the network between jobs.

One turn: take in what callers sent, drop what was cancelled, let the pool load and evict, start jobs whose models are
there, then one shared forward (or one operation without steps) for the accounts that were served least.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future

import torch

from inference.engine import events, operations
from inference.engine.drawing import Drawing
from inference.engine.errors import RenderFailed
from inference.engine.fairness import FairShare
from inference.engine.families.base import Model, Sample
from inference.engine.outputs import EngineStatus, ResidentModel
from inference.engine.parts import PartRef
from inference.engine.pool import Pool
from inference.engine.settings import EngineSettings
from inference.engine.work import Job, Row, Work, failure_of, is_out_of_memory

logger = logging.getLogger(__name__)
IDLE_S = 0.5
# How many younger jobs may overtake one whose model has no room yet, before the others stop being started.
OVERTAKEN_MAX = 32
# So many pictures share the decoder, within the memory of one of 1024 x 1024 px. Measured on a CPU: four take up to two
# fifths less than one by one, sixteen of the demo model a half more.
DECODED_MAX, DECODED_LATENTS = 4, 128 * 128
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
        self.row_caps: dict[Hashable, int] = {}
        self.counts: Counter[str] = Counter()
        self.closing = False
        self.snapshot = self._status()

    # --- Turns --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        while not self.closing:
            try:
                idle = not self.turn()
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

    # --- Starting -----------------------------------------------------------------------------------------------------

    def _preload(self) -> None:
        for ref, future in list(self.preloads.items()):
            try:
                if self.pool.want([ref]):
                    del self.preloads[ref]
                    future.set_result(self.pool.residents[ref].load_ms)
            except RenderFailed as failure:
                del self.preloads[ref]
                future.set_exception(failure)

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
        for work in held_up[:1] or waiting:
            if not self._may_start(work.account):
                continue
            with self._blame([work]):
                if self._parts_ready(work):
                    self._start(work)
                    for other in waiting:
                        other.passed += not other.started and other.missed_s is not None

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
            with self._timed([work]):
                work.drawing = Drawing(work.spec, work.job.inputs, work.parts(), work.report, self.settings)

    @torch.inference_mode()
    def _start_rows(self) -> None:
        """Give free places to images, account by account in turn; no account waits for its first."""
        while ready := [work for work in self.works if work.started and work.pending]:
            under_way = Counter(work.account for work in self.works for _ in work.rows)
            work = min(ready, key=lambda w: under_way[w.account])
            if under_way.total() >= self.settings.max_active_images and under_way[work.account]:
                return
            index = work.pending.popleft()
            with self._blame([work]), self._timed([work]):
                work.rows.append(self._row(work, index))

    def _row(self, work: Work, index: int) -> Row:
        spec = work.spec
        if work.drawing is None:
            return Row(work, index, bucket=(spec.token, index), cost=operations.cost(spec))
        sample = work.drawing.sample(index)
        return Row(work, index, bucket=work.drawing.bucket(sample), sample=sample, cost=_cost(sample))

    # --- Computing ----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _compute(self) -> bool:
        rows = self.fair.pick([row for work in self.works for row in work.rows], self._capacity)
        if not rows:
            return False
        works = [row.work for row in rows]
        with self._timed(works):
            if rows[0].sample is None:
                with self._blame(works):
                    operations.run(rows[0], self.settings)
            else:
                self._step(rows)
        return True

    def _capacity(self, bucket: Hashable) -> int:
        return self.row_caps.get(bucket, self.settings.max_rows)

    def _step(self, rows: list[Row]) -> None:
        predicted = self._predict(rows)
        if not predicted:
            return
        whole = torch.stack([torch.isfinite(prediction).all() for _, prediction in predicted]).tolist()
        ready: list[Row] = []
        for (row, prediction), finite in zip(predicted, whole, strict=True):
            with self._blame([row.work]):
                if not finite:
                    raise RenderFailed(code="not_a_number", message="The model produced values that are no numbers.")
                if self._advance(row, prediction):
                    ready.append(row)
        for together in _decoded_together([row for row in ready if row in row.work.rows]):
            for row, pixels in self._decode(together):
                with self._blame([row.work]):
                    self._deliver(row, pixels)

    def _predict(self, rows: list[Row]) -> list[tuple[Row, torch.Tensor]]:
        """One forward for all. If it fails: half the rows when memory ran out, else each alone to find the guilty."""
        drawing, samples = rows[0].work.drawing, [row.sample for row in rows if row.sample]
        assert drawing is not None
        try:
            predictions = drawing.predict(samples, self._capacity(rows[0].bucket))
            self.counts["forwards"] += 1
            self.counts["forward_rows"] += sum(row.weight for row in rows)
            return list(zip(rows, predictions, strict=True))
        except Exception as error:
            if is_out_of_memory(error):
                self.counts["oom"] += 1
                self.row_caps[rows[0].bucket] = max(sum(row.weight for row in rows) // 2, 1)
            if len(rows) == 1:
                rows[0].work.fail(failure_of(error))
                logger.warning("A step of %s failed.", rows[0].work.spec.token, exc_info=error)
                return []
            out_of_memory = is_out_of_memory(error)
        if out_of_memory:
            self._release_memory()
            return self._predict(rows[: len(rows) // 2])
        return [pair for row in rows for pair in self._predict([row])]

    def _advance(self, row: Row, prediction: torch.Tensor) -> bool:
        """Whether the picture is ready to be decoded."""
        work, sample = row.work, row.sample
        assert sample is not None
        assert work.drawing is not None
        work.drawing.family.advance(sample, prediction)
        step, steps = sample.progress
        work.tell("step", row.index, step, steps)
        if sample.done and sample.then:
            row.sample = sample.then(sample)
            row.bucket = work.drawing.bucket(row.sample)
            row.cost = _cost(row.sample)
            return False
        if not sample.done:
            self._preview(row, sample, work.drawing.model)
        return sample.done

    def _preview(self, row: Row, sample: Sample, model: Model) -> None:
        every = self.settings.preview_every_steps
        if every and sample.step % every == 0 and row.work.job.listener:
            row.work.tell("preview", row.index, *sample.progress, preview_png=events.preview_png(model, sample))

    def _decode(self, rows: list[Row]) -> list[tuple[Row, torch.Tensor]]:
        """Together; if that fails each alone; if memory runs out for one, that one in tiles."""
        drawing, samples = rows[0].work.drawing, [row.sample for row in rows if row.sample]
        assert drawing is not None
        tiled = False
        try:
            return list(zip(rows, drawing.decode(samples), strict=True))
        except Exception as error:
            tiled = is_out_of_memory(error)
            self.counts["oom"] += tiled
            if len(rows) == 1 and not tiled:
                rows[0].work.fail(failure_of(error))
                logger.warning("Decoding %s failed.", rows[0].work.spec.token, exc_info=error)
                return []
        self._release_memory()
        if len(rows) > 1:
            return [pair for row in rows for pair in self._decode([row])]
        pairs: list[tuple[Row, torch.Tensor]] = []
        with self._blame([rows[0].work]):
            pairs = [(rows[0], drawing.decode(samples, tiled=True)[0])]
        return pairs

    def _deliver(self, row: Row, pixels: torch.Tensor) -> None:
        assert row.work.drawing is not None
        operations.finish(row, row.work.drawing.picture(pixels), self.settings)
        self.counts["images_done"] += 1

    def _release_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # --- Accounts of time, blame and state ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _timed(self, works: list[Work]) -> Iterator[None]:
        """Share the device's time among those who used it."""
        started_s = self.clock()
        try:
            yield
        finally:
            share_s = (self.clock() - started_s) / len(works)
            for work in works:
                work.device_s += share_s

    @contextlib.contextmanager
    def _blame(self, works: list[Work]) -> Iterator[None]:
        """An exception costs these jobs, never the loop."""
        try:
            yield
        except Exception as error:
            failure = failure_of(error)
            if failure is not error:
                logger.exception("The job %s failed.", works[0].spec.token)
            if failure.code == "out_of_memory":
                self.counts["oom"] += 1
            for work in works:
                work.fail(failure)

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
            resident=resident,
            loading=pool.loading.label if pool.loading else "",
            memory_budget_bytes=pool.budget_bytes,
            memory_used_bytes=pool.used_bytes(),
            active_rows=sum(len(work.rows) for work in self.works),
            waiting=sum(not work.started for work in self.works),
            images_done=self.counts["images_done"],
            forwards=self.counts["forwards"],
            forward_rows=self.counts["forward_rows"],
            oom_count=self.counts["oom"],
            progress={work.spec.token: work.progress() for work in self.works},
        )


def _decoded_together(rows: list[Row]) -> list[list[Row]]:
    """Pictures of one shape and decoder that are ready at the same step, a few at a time."""
    groups: dict[tuple[int, tuple[int, ...]], list[list[Row]]] = {}
    for row in rows:
        assert row.sample is not None
        shape = tuple(row.sample.latents.shape)
        places = groups.setdefault((id(row.sample.vae), shape), [[]])
        most = max(min(DECODED_MAX, DECODED_LATENTS // (shape[-1] * shape[-2])), 1)
        if len(places[-1]) >= most or (row.sample.alone is not None and places[-1]):
            places.append([])
        places[-1].append(row)
    return [group for places in groups.values() for group in places]


def _cost(sample: Sample) -> float:
    """Megapixels of one step; a picture with guidance (two rows) counts once."""
    window = sample.views[0]
    return window.height * window.width * 64 * sample.rows / 2e6
