"""The stand-in Stripe as one object: a server on loopback with its state, its webhooks and its troubles.

It is for development and tests. It moves no money, knows no card, and must only be bound to loopback.
"""

import copy
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from billing.sandbox import contract, timeline
from billing.sandbox.backend import Backend, Recorded
from billing.sandbox.delivery import Attempt, Delivery, Target
from billing.sandbox.operations import OPERATIONS
from billing.sandbox.server import Server
from billing.sandbox.trouble import Trouble
from billing.sandbox.world import Obj, Rules, World, read_state, write_state

API_KEY = "sk_test_sandbox"
WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 - guards nothing but the sandbox
TICK_S = 1.0


class SandboxStripe:
    """Use it as a context manager, or call start and stop.

    `webhook` is a URL, or a function of body and signature header that returns a status. With `automatic` events are
    delivered and time passes by themselves, as `make run` wants it; without, a test says when: `deliver()`,
    `advance()`. Operations of operations.py are methods: `stripe.pay(session=...)`, `stripe.dispute_open(charge=...)`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        public_url: str | None = None,
        webhook: Target = None,
        secrets: tuple[str, ...] = (WEBHOOK_SECRET,),
        types: frozenset[str] | None = None,
        state_file: Path | None = None,
        rules: Rules | None = None,
        api_keys: dict[str, frozenset[str] | None] | None = None,
        automatic: bool = False,
        now: Callable[[], float] = time.time,  # noqa: TID251 - the project's clock is Django's, which this part must not import
    ) -> None:
        self.api_key = API_KEY
        self.world = World(seed=seed, rules=rules, state=read_state(state_file), now=now)
        self.trouble = Trouble(seed)
        self.webhooks = Delivery(self.world, webhook, secrets, seed=seed, types=types)
        self.backend = Backend(
            self.world,
            contract.load(),
            api_keys={API_KEY: None, **(api_keys or {})},
            trouble=self.trouble,
        )
        self.world.on_event = self.webhooks.enqueue
        self._state_file = state_file
        self._automatic = automatic
        self._address = (host, port)
        self._public_url = public_url
        self._server: Server | None = None
        self._ticking = threading.Event()

    # Life

    def start(self) -> Self:
        self.listen()
        if self._automatic:
            self.webhooks.start()
        if self._automatic or self._state_file is not None:
            threading.Thread(target=self._tick, name="sandbox-clock", daemon=True).start()
        return self

    def listen(self) -> None:
        """Opens the port; after `refuse_connections` the same one again."""
        self._server = Server(self, self._address)
        self._address = self._server.address
        self.world.base_url = self._public_url or self.base_url
        self._server.start()

    def refuse_connections(self) -> None:
        """Closes the port, so that clients are refused, until `listen`."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def stop(self) -> None:
        self._ticking.set()
        self.backend.closing.set()
        self.webhooks.stop()
        self.refuse_connections()
        self._save()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _tick(self) -> None:
        """Each second: lets time pass, and saves what changed. Saving each change at once would cost as much as all
        that was ever done, every time; a killed sandbox forgets its last second."""
        while not self._ticking.wait(TICK_S):
            if self._automatic:
                with self.world.lock:
                    before = len(self.world.state.agenda)
                    timeline.pass_time(self.world)
                    if len(self.world.state.agenda) != before:
                        self.world.changed.set()
            if self.world.changed.is_set():
                self._save()

    def _save(self) -> None:
        if self._state_file is not None:
            with self.world.lock:
                self.world.changed.clear()
                timeline.forget_old(self.world)
                text = json.dumps(vars(self.world.state))
            write_state(self._state_file, text)

    # Reading

    @property
    def base_url(self) -> str:
        return f"http://{self._address[0]}:{self._address[1]}"

    @property
    def base_addresses(self) -> dict[str, str]:
        """For stripe.StripeClient(base_addresses=...)."""
        return dict.fromkeys(("api", "connect", "files", "meter_events"), self.base_url)

    @property
    def requests(self) -> list[Recorded]:
        return self.backend.requests

    @property
    def faults(self) -> list[str]:
        """Differences from Stripe's contract, in requests or in the sandbox's own answers. A test asserts none."""
        return self.world.faults

    @property
    def events(self) -> list[Obj]:
        """All events, oldest first."""
        with self.world.lock:
            return copy.deepcopy(self.world.all("event"))

    @property
    def event_types(self) -> list[str]:
        return [event["type"] for event in self.events]

    # Doing

    def deliver(self, events: list[Obj] | None = None) -> list[Attempt]:
        return self.webhooks.deliver(events)

    def operate(self, name: str, **arguments: Any) -> Any:
        """Runs one of the operations and answers a copy of what it returned."""
        with self.world.lock:
            timeline.pass_time(self.world)
            try:
                return copy.deepcopy(OPERATIONS[name](self.world, **arguments))
            finally:
                timeline.pass_time(self.world)
                self.world.changed.set()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in OPERATIONS:
            raise AttributeError(name)
        return lambda **arguments: self.operate(name, **arguments)
