"""Answers one API request: checks it against the contract, runs its handler, applies idempotency and troubles.

It knows no sockets; server.py turns its answers into bytes.
"""

import json
import re
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from billing.sandbox import expand, families, timeline
from billing.sandbox.contract import Contract, Fault
from billing.sandbox.idempotency import Keys, Saved
from billing.sandbox.params import Params, decode_form
from billing.sandbox.refusals import Refusal, forbidden, key_in_use, rate_limited, server_error, unauthorized
from billing.sandbox.routing import Call, find_route
from billing.sandbox.trouble import Rule, Trouble
from billing.sandbox.world import API_VERSION, Obj, World

UNRECOGNIZED = "Unrecognized request URL ({}: {}). If you are trying to list objects, remove the trailing slash."
CODES = {
    "unknown": "parameter_unknown",
    "missing": "parameter_missing",
    "type": "parameter_invalid",
    "value": "parameter_invalid",
}
BRANCH = re.compile(r"\[\d+\]")


class Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True)
class Incoming:
    """One request as it came from the wire."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass
class Recorded:
    """What a test may ask about a request afterwards."""

    id: str
    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    status: int = 0
    replayed: bool = False
    trouble: str | None = None


@dataclass(frozen=True)
class Answer:
    status: int
    body: Obj
    headers: dict[str, str] = field(default_factory=dict)


def _refusal_of(fault: Fault, incoming: Incoming) -> Refusal:
    """The error that Stripe answers a malformed request with."""
    if fault.kind == "operation":
        return Refusal(UNRECOGNIZED.format(incoming.method, incoming.path), status=404)
    head, *rest = fault.path.replace("[", ".").replace("]", "").split(".")
    param = head + "".join(f"[{part}]" for part in rest)
    messages = {"unknown": f"Received unknown parameter: {param}", "missing": f"Missing required param: {param}."}
    return Refusal(messages.get(fault.kind, f"Invalid {param}: {fault.detail}"), code=CODES[fault.kind], param=param)


class Backend:
    """Serves requests on a world. Many threads may call `handle`; the world's lock makes them take turns."""

    def __init__(
        self,
        world: World,
        contract: Contract,
        *,
        api_keys: Mapping[str, frozenset[str] | None],
        trouble: Trouble,
    ) -> None:
        families.load()
        self.world = world
        self.requests: list[Recorded] = []
        self.closing = threading.Event()
        self._contract = contract
        self._api_keys = api_keys
        self._trouble = trouble
        self._keys = Keys(world)
        world.check_event = lambda event: self._check_object(f"event {event['type']}", event)

    def handle(self, incoming: Incoming) -> Answer:
        """The answer to a request; raises Dropped when there is none."""
        with self.world.lock:
            record = Recorded(self.world.new_id("req"), incoming.method, incoming.path)
            self.requests.append(record)
        headers = {"Request-Id": record.id, "Stripe-Version": API_VERSION}
        try:
            saved = self._serve(incoming, record)
        except Refusal as refusal:
            saved = Saved(refusal.status, refusal.body)
        except Dropped:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of the sandbox must show as a fault, not as a silent hang
            self._fault(
                f"{incoming.method} {incoming.path}: the sandbox failed with {error!r} {traceback.format_exc()[-600:]}"
            )
            saved = Saved(500, server_error().body)
            headers["Stripe-Should-Retry"] = "false"
        record.status = saved.status
        if record.idempotency_key:
            headers["Idempotency-Key"] = record.idempotency_key
            headers.update({"Idempotent-Replayed": "true"} if record.replayed else {})
        return Answer(saved.status, saved.body, headers)

    def _serve(self, incoming: Incoming, record: Recorded) -> Saved:
        self._authenticate(incoming)
        self._check_version(incoming)
        params = self._params(incoming)
        record.params = params
        key = incoming.headers.get("Idempotency-Key") if incoming.method == "POST" else None
        rule = self._trouble.take(incoming.method, incoming.path)
        record.trouble = rule.kind if rule else None
        if key is None:
            self._before(rule)
            result = self._run(incoming, record, params)
            if incoming.method != "GET":
                self.world.changed.set()
            return self._after(rule, result)
        record.idempotency_key = key
        return self._once(key, incoming, record, params, rule)

    def _once(self, key: str, incoming: Incoming, record: Recorded, params: dict[str, Any], rule: Rule | None) -> Saved:
        """Runs a request under its idempotency key, or replays what it answered before."""
        endpoint = f"{incoming.method} {incoming.path}"
        with self.world.lock:
            replay = self._keys.begin(key, endpoint, params)
        if replay is not None:
            record.replayed = True
            return self._after(rule if rule and not rule.kind.startswith("error") else None, replay)
        result: Saved | None = None
        try:
            self._before(rule)
            result = self._run(incoming, record, params)
            if rule and rule.kind == "error_after_commit":
                result = Saved(500, server_error().body)
        except Refusal as refusal:
            result = Saved(refusal.status, refusal.body) if refusal.saved else None
            raise
        finally:
            with self.world.lock:
                self._keys.finish(key, endpoint, params, result)
                self.world.changed.set()
        return self._after(rule, result)

    def _authenticate(self, incoming: Incoming) -> None:
        scheme, _, token = incoming.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._api_keys:
            raise unauthorized()
        allowed = self._api_keys[token]
        family = "/".join(
            incoming.path.split("/")[2:4]
            if incoming.path.startswith(("/v1/billing/", "/v1/checkout/", "/v1/billing_portal/"))
            else incoming.path.split("/")[2:3]
        )
        needed = f"{family}:{'read' if incoming.method == 'GET' else 'write'}"
        if allowed is not None and needed not in allowed and f"{family}:write" not in allowed:
            raise forbidden(needed)

    def _check_version(self, incoming: Incoming) -> None:
        version = incoming.headers.get("Stripe-Version")
        if version != API_VERSION:
            self._fault(
                f"{incoming.method} {incoming.path}: asked for API version {version}, the sandbox speaks {API_VERSION}"
            )

    def _params(self, incoming: Incoming) -> dict[str, Any]:
        """The parameters, typed as the contract says; a difference from the contract is noted and refused."""
        try:
            given = decode_form(incoming.body if incoming.method == "POST" else incoming.query)
        except ValueError as error:
            raise Refusal(str(error)) from error
        faults = self._contract.check_request(incoming.method, incoming.path, given)
        for fault in faults:
            self._fault(f"{incoming.method} {incoming.path}: {fault}")
        if faults:
            raise _refusal_of(faults[0], incoming)
        return self._contract.typed(incoming.method, incoming.path, given)

    def _run(self, incoming: Incoming, record: Recorded, values: dict[str, Any]) -> Saved:
        found = find_route(incoming.method, incoming.path)
        where = f"{incoming.method} {incoming.path}"
        if found is None:
            self._fault(f"{where}: Stripe has this operation, the sandbox does not model it")
            raise Refusal(UNRECOGNIZED.format(incoming.method, incoming.path), status=404)
        route, ids = found
        params = Params(values)
        with self.world.lock:
            timeline.pass_time(self.world)
            self.world.request = {"id": record.id, "idempotency_key": record.idempotency_key}
            try:
                expansions = params.plain("expand", [])
                result = expand.apply(self.world, route.handler(Call(self.world, params, ids)), expansions)
            finally:
                self.world.request = None
            self._check_object(where, result)
        for name in params.unread():
            self._fault(f"{where}: Stripe takes the parameter {name}, the sandbox does not model it")
        return Saved(200, json.loads(json.dumps(result)))

    def _check_object(self, where: str, obj: Obj) -> None:
        for fault in self._contract.check_object(obj):
            self._fault(f"{where} answered {fault}")

    def _fault(self, text: str) -> None:
        with self.world.lock:
            self.world.faults.append(BRANCH.sub("[]", text) if "answered" in text else text)

    def _before(self, rule: Rule | None) -> None:
        """The troubles that come before anything is done."""
        kind = rule.kind if rule else ""
        if rule and kind in ("hang", "delay"):
            self.closing.wait(rule.seconds)
        if kind in ("refuse", "hang"):
            raise Dropped
        refusals: dict[str, Callable[[], Refusal]] = {
            "error": lambda: Refusal("An unknown error occurred.", status=500, type="api_error"),
            "unavailable": lambda: Refusal("Stripe is temporarily unavailable.", status=503, type="api_error"),
            "rate_limit": rate_limited,
            "conflict": lambda: key_in_use("another"),
            "forbidden": lambda: forbidden("as the sandbox was told"),
            "unauthorized": unauthorized,
        }
        if kind in refusals:
            raise refusals[kind]()

    def _after(self, rule: Rule | None, result: Saved) -> Saved:
        """The troubles that come when the work is done."""
        kind = rule.kind if rule else ""
        if kind == "error_after_commit":
            return Saved(500, server_error().body)
        if rule and kind == "hang_after_commit":
            self.closing.wait(rule.seconds)
        if kind in ("drop_after_commit", "hang_after_commit"):
            raise Dropped
        return result
