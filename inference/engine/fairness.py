"""Who is served next: the device's time is shared between accounts, not between requests. Pure; no torch.

Every account has a debt: the megapixel-steps it was served beyond the least-served account that also has work. The
least indebted account goes first (deficit round robin: an account never waits for more than one turn of each other
account), and an account that comes back after a pause starts level with the others instead of with saved-up credit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """Something that wants the device: `bucket` names what it may share a forward with."""

    @property
    def account(self) -> str: ...
    @property
    def bucket(self) -> Hashable: ...
    @property
    def cost(self) -> float:
        """Megapixel-steps of the next step."""
        ...

    @property
    def weight(self) -> int:
        """Network rows that it takes of the forward's capacity."""
        ...


C = TypeVar("C", bound=Candidate)


class FairShare:
    """The accounts' served work, and the choice of the next forward."""

    def __init__(self) -> None:
        self._served: dict[str, float] = {}

    def enter(self, accounts: Iterable[str]) -> None:
        """Tell who has work now. Newcomers start level with the least served; those without work are forgotten."""
        present = set(accounts)
        self._served = {name: work for name, work in self._served.items() if name in present}
        level = min(self._served.values(), default=0.0)
        for name in present:
            self._served.setdefault(name, level)

    def charge(self, account: str, cost: float) -> None:
        self._served[account] = self._served.get(account, 0.0) + cost

    def order(self, accounts: Iterable[str]) -> list[str]:
        """The accounts by their debt; equal debts keep the given order."""
        return sorted(dict.fromkeys(accounts), key=lambda name: self._served.get(name, 0.0))

    def pick(self, candidates: Sequence[C], capacity: Callable[[Hashable], int]) -> list[C]:
        """The next forward: the least-served account's first candidate decides the bucket, then all may join it.

        Accounts take turns by their debt until the forward is full. Within an account the given order counts, so that
        its oldest images finish first. The chosen candidates are charged to their accounts. `capacity` tells how many
        rows a forward of the bucket may have; a candidate that is larger runs alone.
        """
        if not candidates:
            return []
        first = self.order(c.account for c in candidates)[0]
        bucket = next(c.bucket for c in candidates if c.account == first)
        queues: dict[str, list[C]] = {}
        for candidate in candidates:
            if candidate.bucket == bucket:
                queues.setdefault(candidate.account, []).append(candidate)
        return self._take_turns(queues, capacity(bucket))

    def _take_turns(self, queues: dict[str, list[C]], capacity: int) -> list[C]:
        chosen: list[C] = []
        room = capacity
        while queues:
            account = self.order(queues)[0]
            candidate = queues[account].pop(0)
            if not queues[account]:
                del queues[account]
            if chosen and candidate.weight > room:
                break
            room -= candidate.weight
            chosen.append(candidate)
            self.charge(account, candidate.cost)
        return chosen
