"""Who renders what: a pure policy from waiting generations and free slots to assignments. No database, no clock.

Accounts share the render workers by weighted fair queueing: each has a virtual clock that advances by the work it was
given over its plan's weight, and the one furthest behind goes next; within an account, priority, then age. Affinity is
bounded: a generation whose model is resident may pass others, but each of them is passed at most PASSED_MAX times, so
that models do not thrash and nothing starves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

PASSED_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A generation that waits. `work` is its cost (kilopixel-steps); the list comes oldest first."""

    generation_id: int
    account_id: int
    model_id: str
    work: float
    weight: int = 1
    priority: int = 0


@dataclass(slots=True, kw_only=True)
class Slots:
    """A render worker with room. Empty `serves` is every model; an owner keeps others' work away."""

    worker: str
    free: int
    serves: frozenset[str] = frozenset()
    resident: frozenset[str] = frozenset()
    owner_account_id: int | None = None

    def may_render(self, waiting: Waiting) -> bool:
        return (
            self.free > 0
            and (not self.serves or waiting.model_id in self.serves)
            and (self.owner_account_id is None or self.owner_account_id == waiting.account_id)
        )


@dataclass(frozen=True, slots=True)
class Assignment:
    generation_id: int
    worker: str


@dataclass(slots=True)
class Fairness:
    """What the dispatcher remembers between runs. Losing it costs a moment of fairness, nothing else."""

    now: float = 0.0
    account_clock: dict[int, float] = field(default_factory=dict)
    passed: dict[int, int] = field(default_factory=dict)

    def start_of(self, account_id: int) -> float:
        """An account that was idle starts now: rest earns no credit."""
        return max(self.now, self.account_clock.get(account_id, 0.0))

    def charge(self, waiting: Waiting) -> None:
        work = waiting.work / max(waiting.weight, 1)
        self.account_clock[waiting.account_id] = self.start_of(waiting.account_id) + work
        self.passed.pop(waiting.generation_id, None)

    def advance(self, waiting: Iterable[Waiting]) -> None:
        """The common clock follows the account that is furthest behind of those that wait."""
        self.now = max(self.now, min(self.start_of(item.account_id) for item in waiting))

    def forget_idle(self, waiting: Iterable[Waiting]) -> None:
        """Keep only what still matters, so that memory follows the queue and not the history."""
        ids, accounts = set(), set()
        for item in waiting:
            ids.add(item.generation_id)
            accounts.add(item.account_id)
        self.passed = {key: value for key, value in self.passed.items() if key in ids}
        self.account_clock = {
            key: value for key, value in self.account_clock.items() if value > self.now or key in accounts
        }


def assign(waiting: Sequence[Waiting], slots: Sequence[Slots], fairness: Fairness) -> list[Assignment]:
    """Fill the free slots. Each step gives the fair next generation, or one that may pass it, to its best worker."""
    fairness.forget_idle(waiting)
    left = {item.generation_id: item for item in waiting}
    assignments: list[Assignment] = []
    while any(slot.free for slot in slots):
        choice = _next(left.values(), slots, fairness)
        if choice is None:
            break
        fairness.advance(left.values())
        item, slot = choice
        slot.free -= 1
        fairness.charge(item)
        del left[item.generation_id]
        assignments.append(Assignment(item.generation_id, slot.worker))
    return assignments


def _next(left: Iterable[Waiting], slots: Sequence[Slots], fairness: Fairness) -> tuple[Waiting, Slots] | None:
    """The fair first that some worker may render, unless one behind it fits what is resident and may still pass."""
    passed: list[Waiting] = []
    cold: tuple[Waiting, Slots] | None = None
    for item in fair_order(left, fairness):
        slot = _best_slot(item, slots)
        if slot is None:
            continue
        if item.model_id in slot.resident:
            for other in passed:
                fairness.passed[other.generation_id] = fairness.passed.get(other.generation_id, 0) + 1
            return item, slot
        cold = cold or (item, slot)
        if fairness.passed.get(item.generation_id, 0) >= PASSED_MAX or len(passed) >= PASSED_MAX:
            return cold
        passed.append(item)
    return cold


def _best_slot(item: Waiting, slots: Sequence[Slots]) -> Slots | None:
    """The owner's own worker, then one with the model resident, then the emptiest."""
    able = [slot for slot in slots if slot.may_render(item)]
    if not able:
        return None
    return max(able, key=lambda slot: (slot.owner_account_id is not None, item.model_id in slot.resident, slot.free))


def fair_order(waiting: Iterable[Waiting], fairness: Fairness) -> Iterator[Waiting]:
    """All of them, as they would be served if every worker could take any: least virtual time first, then age."""
    queues: dict[int, deque[Waiting]] = {}
    for item in sorted(waiting, key=lambda one: -one.priority):
        queues.setdefault(item.account_id, deque()).append(item)
    clocks = {account_id: fairness.start_of(account_id) for account_id in queues}
    while queues:
        account_id = min(queues, key=lambda one: (-queues[one][0].priority, clocks[one], queues[one][0].generation_id))
        item = queues[account_id].popleft()
        clocks[account_id] += item.work / max(item.weight, 1)
        if not queues[account_id]:
            del queues[account_id]
        yield item
