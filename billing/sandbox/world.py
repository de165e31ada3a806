"""The state of the stand-in: its objects, its clock, its agenda of future work, and the events that it announces.

It knows no HTTP and no Stripe object family; families read and change objects only through a World.
Callers hold `World.lock` around every use.
"""

import copy
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from billing.sandbox.blanks import blank
from billing.sandbox.refusals import parameter_invalid, resource_missing

Obj: TypeAlias = dict[str, Any]

API_VERSION = "2026-10-28.endive"
EVENTS_KEPT_S = 30 * 86_400  # docs.stripe.com/api/events: retrievable for 30 days


@dataclass
class Rules:
    """What an operator of Stripe would set on the dashboard, and what a test may turn."""

    livemode: bool = False
    tax_basis_points: int | None = None  # None: no tax origin, so automatic tax is refused
    settle_after_s: int = 4 * 86_400  # how long a bank debit stays in processing
    settle_succeeds: bool = True
    refund_status: str = "succeeded"  # or "pending": waits for refund_settle
    retry_after_days: tuple[int, ...] = (3, 5, 7)  # collection of a failed renewal, counted from the failure before
    after_last_retry: str = "cancel"  # or unpaid, past_due, pause
    meter_lag_s: int = 0  # how long a meter event stays out of the summaries
    session_url_s: int = 3_600  # life of a portal link


@dataclass
class State:
    """Everything that survives a restart, as plain JSON values."""

    objects: dict[str, dict[str, Obj]] = field(default_factory=dict)
    hidden: dict[str, Obj] = field(default_factory=dict)  # facts that Stripe keeps to itself, by object id
    counters: dict[str, int] = field(default_factory=dict)
    agenda: list[list[Any]] = field(default_factory=list)  # [due, sequence, action, object id, test clock or None]
    saved_answers: dict[str, Obj] = field(default_factory=dict)
    clock_offset_s: int = 0


def read_state(path: Path | None) -> State:
    if path is None or not path.exists():
        return State()
    return State(**json.loads(path.read_text()))


def write_state(path: Path, text: str) -> None:
    """Replaces the file as a whole, so that a reader never finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


class World:
    def __init__(
        self,
        *,
        seed: int = 0,
        rules: Rules | None = None,
        state: State | None = None,
        now: Callable[[], float] = time.time,  # noqa: TID251 - the project's clock is Django's, which this part must not import
    ) -> None:
        self.seed = seed
        self.rules = rules or Rules()
        self.state = state or State()
        self.lock = threading.RLock()
        self.changed = threading.Event()  # something is worth saving
        self.base_url = ""
        self.faults: list[str] = []
        self.check_event: Callable[[Obj], None] = lambda event: None
        self.on_event: Callable[[Obj], None] = lambda event: None
        self.request: Obj | None = None  # {"id", "idempotency_key"} of the request being served
        self._now = now
        self._as_of: int | None = None

    # Time

    def now(self, customer: str | None = None) -> int:
        """The present: of the customer's test clock if it has one, else of the sandbox."""
        if self._as_of is not None:
            return self._as_of
        clock = self.clock_of(customer)
        if clock is not None:
            return int(self.state.objects["test_helpers.test_clock"][clock]["frozen_time"])
        return int(self._now()) + self.state.clock_offset_s

    def clock_of(self, customer: str | None) -> str | None:
        found = self.state.objects.get("customer", {}).get(customer or "")
        return found.get("test_clock") if found else None

    @contextmanager
    def at(self, instant: int) -> Iterator[None]:
        """Lets what happens inside happen at an instant, for work that was due earlier than it is done."""
        before, self._as_of = self._as_of, instant
        try:
            yield
        finally:
            self._as_of = before

    def plan(self, due: int, action: str, object_id: str, customer: str | None = None) -> None:
        """Puts an action on the agenda; timeline.py runs it when the time has come."""
        self.state.agenda.append([due, self._count("agenda"), action, object_id, self.clock_of(customer)])

    # Objects

    def new_id(self, prefix: str) -> str:
        """Ids depend on nothing but the seed and how many were made, so that a run can be repeated."""
        digest = hashlib.sha256(f"{self.seed}:{prefix}:{self._count(prefix)}".encode()).hexdigest()
        return f"{prefix}_{digest[:24]}"

    def _count(self, name: str) -> int:
        self.state.counters[name] = self.state.counters.get(name, 0) + 1
        return self.state.counters[name]

    def new(self, kind: str, **fields: Any) -> Obj:
        """Makes and stores an object of a kind: the given fields over its empty ones."""
        return self.add(blank(kind, livemode=self.rules.livemode, **fields))

    def add(self, obj: Obj) -> Obj:
        self.state.objects.setdefault(obj["object"], {})[obj["id"]] = obj
        return obj

    def remove(self, obj: Obj) -> None:
        self.state.objects[obj["object"]].pop(obj["id"])

    def find(self, kind: str, object_id: object) -> Obj | None:
        return self.state.objects.get(kind, {}).get(object_id) if isinstance(object_id, str) else None

    def get(self, kind: str, object_id: object, param: str = "id") -> Obj:
        """The object, or Stripe's 404. Named by another parameter than the path, a missing object is a 400."""
        found = self.find(kind, object_id)
        if found is None:
            raise resource_missing(kind, object_id, param, 404 if param == "id" else 400)
        return found

    def alive(self, kind: str, object_id: object, param: str) -> Obj:
        found = self.get(kind, object_id, param)
        if found.get("deleted"):
            raise resource_missing(kind, object_id, param, 400)
        return found

    def all(self, kind: str) -> list[Obj]:
        """Oldest first."""
        return list(self.state.objects.get(kind, {}).values())

    def any(self, object_id: str) -> Obj | None:
        """An object of whatever kind, for `expand`."""
        return next((table[object_id] for table in self.state.objects.values() if object_id in table), None)

    def hide(self, object_id: str) -> Obj:
        """The hidden facts of an object, to read or to change."""
        return self.state.hidden.setdefault(object_id, {})

    # Events

    def change(self, obj: Obj, event_type: str | None = None, **fields: Any) -> Obj:
        """Sets fields and announces the change with the values that they had before. No event when nothing changed."""
        previous = {name: copy.deepcopy(obj.get(name)) for name, value in fields.items() if obj.get(name) != value}
        obj.update(fields)
        if event_type is not None and previous:
            self.emit(event_type, obj, previous if event_type.endswith(".updated") else None)
        return obj

    def emit(self, event_type: str, obj: Obj, previous: Obj | None = None) -> Obj:
        """Announces an event. Its data is frozen now: later changes of the object do not reach it."""
        data: Obj = {"object": copy.deepcopy(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(obj["id"] if obj["object"] == "customer" else obj.get("customer")),
            "data": data,
            "livemode": self.rules.livemode,
            "pending_webhooks": 1,
            "request": self.request or {"id": None, "idempotency_key": None},
            "type": event_type,
        }
        self.add(event)
        self.check_event(event)
        self.on_event(event)
        return event


def require_choice(param: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise parameter_invalid(param, f"Invalid {param}: must be one of {', '.join(choices)}")
