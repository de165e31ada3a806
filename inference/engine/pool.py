"""Which parts are in memory: loaded once on a thread of its own, borrowed by jobs, evicted least recently used first.

Everything here but `_load_forever` runs on the device's thread, so that nothing vanishes while a step computes.
"""

from __future__ import annotations

import gc
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch

from inference.engine.errors import RenderFailed, is_out_of_memory
from inference.engine.parts import Part, PartRef

logger = logging.getLogger(__name__)


class LoadsParts(Protocol):
    def load(self, ref: PartRef) -> Part: ...
    def estimate_bytes(self, ref: PartRef) -> int: ...


@dataclass(eq=False, slots=True)
class Resident:
    """A part in memory. `used` is a turn of the pool's clock, which orders by last use."""

    ref: PartRef
    part: Part
    used: int
    load_ms: int
    borrowed: int = 0
    pinned: bool = False

    @property
    def idle(self) -> bool:
        return self.borrowed == 0 and not self.pinned


@dataclass(eq=False, slots=True)
class _Loaded:
    ref: PartRef
    part: Part | None
    failure: RenderFailed | None
    load_ms: int


@dataclass(slots=True)
class Pool:
    """`budget_bytes` bounds the resident parts. `on_ready` wakes the device's thread after each load."""

    loader: LoadsParts
    budget_bytes: int
    on_ready: Callable[[], None]
    pinned_labels: set[str] = field(default_factory=set)
    residents: dict[PartRef, Resident] = field(default_factory=dict)
    failures: dict[PartRef, RenderFailed] = field(default_factory=dict)
    waiting: dict[PartRef, None] = field(default_factory=dict)
    loading: PartRef | None = None
    reserved: frozenset[PartRef] = frozenset()
    """The parts of the job that is next: not evicted for the jobs behind it."""
    blocked: bool = False
    _orders: queue.SimpleQueue[PartRef | None] = field(default_factory=queue.SimpleQueue)
    _loaded: queue.SimpleQueue[_Loaded] = field(default_factory=queue.SimpleQueue)
    _clock: itertools.count[int] = field(default_factory=itertools.count)
    _thread: threading.Thread | None = None

    def open(self) -> None:
        self._thread = threading.Thread(target=self._load_forever, name="engine-loader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._orders.put(None)
        if self._thread:
            self._thread.join(timeout=60)
        self.residents.clear()
        free_memory()

    # --- What jobs ask ------------------------------------------------------------------------------------------------

    def want(self, refs: Iterable[PartRef]) -> bool:
        """Whether all parts are in memory; those that are not are put in line. Raises the failure of one that failed.

        A failure is told once to everyone who waits for it and then forgotten, because the file may be mended.
        """
        ready = True
        for ref in refs:
            if ref in self.failures:
                raise self.failures[ref]
            if ref not in self.residents:
                ready = False
                if ref != self.loading:
                    self.waiting.setdefault(ref)
        return ready

    def borrow(self, refs: Iterable[PartRef]) -> dict[PartRef, Resident]:
        borrowed = {ref: self.residents[ref] for ref in refs}
        for resident in borrowed.values():
            resident.borrowed += 1
            resident.used = next(self._clock)
        return borrowed

    def give_back(self, borrowed: dict[PartRef, Resident]) -> None:
        for resident in borrowed.values():
            resident.borrowed -= 1
            resident.used = next(self._clock)

    def pin(self, label: str, pinned: bool) -> None:
        """Pinned parts are never evicted for others. A label may be pinned before its part is loaded."""
        (self.pinned_labels.add if pinned else self.pinned_labels.discard)(label)
        for resident in self.residents.values():
            if resident.ref.label == label:
                resident.pinned = pinned

    def evict(self, label: str) -> bool:
        """Drop the idle parts of this label; borrowed and pinned ones stay. Returns whether something went."""
        gone = [r for r in self.residents.values() if r.ref.label == label and r.idle]
        for resident in gone:
            del self.residents[resident.ref]
        if gone:
            free_memory()
        return bool(gone)

    def drop_idle(self) -> bool:
        """Drop every part that nobody uses: memory ran out. Returns whether something went."""
        idle = [ref for ref, resident in self.residents.items() if resident.idle]
        for ref in idle:
            del self.residents[ref]
        free_memory()
        return bool(idle)

    # --- Once per turn ------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Take in what was loaded, and order the next load if there is room for it."""
        self.failures.clear()
        self._collect()
        self.blocked = False
        while self.waiting and self.loading is None:
            ref = next((ref for ref in self.waiting if ref in self.reserved), next(iter(self.waiting)))
            del self.waiting[ref]
            try:
                fits = self._make_room(self.loader.estimate_bytes(ref))
            except RenderFailed as failure:
                self.failures[ref] = failure
                continue
            except (OSError, ValueError) as error:  # A name that the file system refuses, a folder without permission.
                message = f"{ref.label} cannot be read: {type(error).__name__}."
                self.failures[ref] = RenderFailed(code="model_unreadable", message=message)
                continue
            if not fits:
                self._wait_for_room(ref)
                return
            self.loading = ref
            self._orders.put(ref)

    @property
    def may_order(self) -> bool:
        """Whether another `pump` could order a load: one is waited for, none is under way, and room was not missing."""
        return bool(self.waiting) and self.loading is None and not self.blocked

    def forget(self, wanted: Iterable[PartRef]) -> None:
        """Drop orders that nobody wants any more."""
        keep = set(wanted)
        self.waiting = {ref: None for ref in self.waiting if ref in keep}

    def used_bytes(self) -> int:
        return _bytes(self.residents.values())

    def own_bytes(self, resident: Resident) -> int:
        return _bytes([resident])

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        while not self._loaded.empty():
            loaded = self._loaded.get()
            self.loading = None
            if loaded.part is None:
                self._take_failure(loaded)
                continue
            pinned = loaded.ref.label in self.pinned_labels
            resident = Resident(loaded.ref, loaded.part, next(self._clock), loaded.load_ms, pinned=pinned)
            self.residents[loaded.ref] = resident
            self._make_room(0, keep=resident)

    def _take_failure(self, loaded: _Loaded) -> None:
        """Where the budget was too hopeful and memory ran out, the load is tried once more without idle parts."""
        assert loaded.failure is not None
        if loaded.failure.code == "out_of_memory" and self.drop_idle():
            self.waiting = {loaded.ref: None, **self.waiting}
        else:
            self.failures[loaded.ref] = loaded.failure

    def _make_room(self, need_bytes: int, keep: Resident | None = None) -> bool:
        """Evict idle parts, least recently used first, until `need_bytes` more fit. False if that cannot be reached."""
        if need_bytes > self.budget_bytes:
            budget = f"this worker's budget is {_gib(self.budget_bytes)} GiB"
            message = f"The model needs {_gib(need_bytes)} GiB; {budget}."
            raise RenderFailed(code="model_too_large", message=message)
        evicted = False
        while self.used_bytes() + need_bytes > self.budget_bytes:
            idle = [r for r in self.residents.values() if r.idle and r is not keep and r.ref not in self.reserved]
            if not idle:
                break
            del self.residents[min(idle, key=lambda resident: resident.used).ref]
            evicted = True
        if evicted:
            free_memory()
        return self.used_bytes() + need_bytes <= self.budget_bytes

    def _wait_for_room(self, ref: PartRef) -> None:
        """Until a job gives something back. Nobody will, if all that is in the way is pinned or belongs to this job."""
        borrowed = any(resident.borrowed for resident in self.residents.values())
        if borrowed or (self.reserved and ref not in self.reserved):
            self.waiting = {ref: None, **self.waiting}
            self.blocked = True
            return
        message = f"{ref.label} does not fit beside what it is used with: the budget is {_gib(self.budget_bytes)} GiB."
        self.failures[ref] = RenderFailed(code="model_too_large", message=message)

    def _load_forever(self) -> None:
        while (ref := self._orders.get()) is not None:
            started = time.perf_counter()
            part, failure = self._load(ref)
            load_ms = round((time.perf_counter() - started) * 1000)
            self._loaded.put(_Loaded(ref, part, failure, load_ms))
            del part
            self.on_ready()

    def _load(self, ref: PartRef) -> tuple[Part | None, RenderFailed | None]:
        try:
            return self.loader.load(ref), None
        except RenderFailed as failure:
            return None, failure
        except Exception as error:  # A damaged file may fail anywhere in the libraries; it must cost its own jobs only.
            if is_out_of_memory(error):
                message = f"{ref.label} does not fit into the device's memory."
                return None, RenderFailed(code="out_of_memory", message=message, retryable=True)
            logger.exception("Loading %s failed.", ref.label)
            message = f"{ref.label} cannot be loaded: {type(error).__name__}."
            return None, RenderFailed(code="model_unreadable", message=message)


def _bytes(residents: Iterable[Resident]) -> int:
    networks: dict[int, int] = {}
    other_bytes = 0
    for resident in residents:
        networks |= resident.part.sizes
        other_bytes += resident.part.other_bytes
    return sum(networks.values()) + other_bytes


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f}"


def free_memory() -> None:
    """Modules refer to each other in circles, so the collector must run before memory can be handed back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
