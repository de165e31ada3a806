"""Checks requests to Stripe and objects from Stripe against the contract derived from the installed stripe-python.

It owns the judgement only: it sends nothing, stores nothing but a cache file, and must not import stripe.
What the SDK's sources do not say (lengths, parameters that exclude each other) is not checked here.
"""

import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billing.sandbox.contract_source import Derived, Fields, Shape, derive, sdk_root, sdk_version

CACHE_FORMAT = 1  # raise it when the derivation changes, so that an older cache file is not read
RUN_FOLDER = Path(os.environ.get("RUN_DIR") or Path(__file__).resolve().parents[2] / ".run")
CACHE_FOLDER = RUN_FOLDER / "stripe-contract"
PAGE_FIELDS = {"object", "data", "has_more", "url", "next_page", "next_page_url", "previous_page_url", "total_count"}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True)
class Fault:
    """One difference from the contract: where it stands, what kind it is, and the sentence for people."""

    path: str
    kind: str  # unknown, missing, type, value, operation, object
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    params_key: str
    returns: Shape
    pattern: re.Pattern[str]


def _kind(shape: Shape) -> str:
    return shape if isinstance(shape, str) else str(shape[0])


def _is_number(value: object, *, whole: bool, strings: bool) -> bool:
    if isinstance(value, str):
        found = _NUMBER.fullmatch(value) if strings else None
        return found is not None and not (whole and found.group(1))
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


def _is_scalar(shape: str, value: object, *, wire: bool) -> bool:
    """Whether a value fits a scalar type; on the wire of a form every scalar arrives as text."""
    if shape == "any":
        return True
    if shape == "str":
        return isinstance(value, str) or (wire and isinstance(value, int | float))
    if shape == "bool":
        return isinstance(value, bool) or (wire and value in ("true", "false"))
    if shape == "decimal":
        return _is_number(value, whole=False, strings=True)
    return _is_number(value, whole=shape == "int", strings=wire)


class Contract:
    """The derived contract, ready to judge. Build it with `load()`; it is immutable and safe to share."""

    def __init__(self, derived: Derived) -> None:
        self.version = derived.version
        self.api_version = derived.api_version
        self.params = derived.params
        self.responses = derived.responses
        self.objects = derived.objects
        self.operations = sorted(map(_operation, derived.operations), key=_specificity)

    def find_operation(self, method: str, path: str) -> Operation | None:
        method = method.upper()
        return next(
            (found for found in self.operations if found.method == method and found.pattern.fullmatch(path)), None
        )

    def check_request(self, method: str, path: str, params: Mapping[str, Any]) -> list[Fault]:
        """Differences of one request; `params` may hold Python values or the text that a form carries."""
        operation = self.find_operation(method, path)
        if operation is None:
            return [Fault(f"{method.upper()} {path}", "operation", "no such operation")]
        return list(self._fields("", self.params[operation.params_key], params, wire=True))

    def check_object(self, obj: Mapping[str, Any], path: str = "") -> list[Fault]:
        """Differences of one object (or list of objects) as Stripe would return it, nested objects included."""
        return list(self._named(path, obj))

    def typed(self, method: str, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The same parameters with form text turned into numbers and booleans where the contract says so."""
        operation = self.find_operation(method, path)
        fields = self.params[operation.params_key] if operation else {}
        return {
            name: self._typed(fields[name][0], value) if name in fields else value for name, value in params.items()
        }

    def _typed(self, shape: Shape, value: Any) -> Any:
        kind = _kind(shape)
        if kind == "union":
            options = [option for option in shape[1] if not any(self._value("", option, value, wire=True))]
            return self._typed(options[0], value) if options else value
        if kind == "bool" and value in ("true", "false"):
            return value == "true"
        if kind == "int" and _is_scalar("int", value, wire=True):
            return int(value)
        if kind == "list" and isinstance(value, list):
            return [self._typed(shape[1], item) for item in value]
        if kind == "map" and isinstance(value, Mapping):
            return {name: self._typed(shape[1], item) for name, item in value.items()}
        if kind == "ref" and isinstance(value, Mapping):
            fields = self.params.get(shape[1], {})
            return {
                name: self._typed(fields[name][0], item) if name in fields else item for name, item in value.items()
            }
        return value

    def _named(self, path: str, obj: Mapping[str, Any]) -> Iterator[Fault]:
        name = obj.get("object")
        here = path or str(name)
        if name in ("list", "search_result"):
            yield from self._page(here, "any", obj)
        elif obj.get("deleted") is True:
            yield from (
                Fault(f"{here}.{extra}", "unknown", "not part of a deleted object")
                for extra in obj.keys() - {"id", "object", "deleted"}
            )
        elif name not in self.objects:
            yield Fault(here, "object", f"no object is called {name!r}")
        else:
            yield from self._fields(here, self.responses[self.objects[str(name)]], obj, wire=False)
            if name == "event":
                yield from self._named(f"{here}.data.object", obj["data"]["object"])

    def _fields(self, path: str, fields: Fields, value: Mapping[str, Any], *, wire: bool) -> Iterator[Fault]:
        for name, item in value.items():
            here = f"{path}.{name}" if path else name
            if name not in fields:
                yield Fault(here, "unknown", "unknown field")
            elif item is not None or fields[name][1]:
                yield from self._value(here, fields[name][0], item, wire=wire)
        for name, (_, required) in fields.items():
            if required and name not in value:
                yield Fault(f"{path}.{name}" if path else name, "missing", "missing")

    def _value(self, path: str, shape: Shape, value: Any, *, wire: bool) -> Iterator[Fault]:
        kind = _kind(shape)
        if isinstance(shape, str):
            if not _is_scalar(shape, value, wire=wire):
                yield Fault(path, "type", f"expected {shape}, got {type(value).__name__} {value!r:.40}")
        elif kind == "enum":
            if value not in shape[1]:
                yield Fault(path, "value", f"{value!r} is not one of {shape[1]}")
        elif kind == "union":
            yield from self._union(path, shape[1], value, wire=wire)
        elif kind == "page":
            yield from self._page(path, shape[1], value)
        elif kind == "list":
            yield from self._list(path, shape[1], value, wire=wire)
        else:
            yield from self._group(path, shape, value, wire=wire)

    def _group(self, path: str, shape: Shape, value: Any, *, wire: bool) -> Iterator[Fault]:
        if not isinstance(value, Mapping):
            yield Fault(path, "type", f"expected fields, got {type(value).__name__} {value!r:.40}")
        elif shape[0] == "map":
            for name, item in value.items():
                yield from self._value(f"{path}.{name}", shape[1], item, wire=wire)
        else:
            yield from self._reference(path, shape[1], value, wire=wire)

    def _reference(self, path: str, key: str, value: Mapping[str, Any], *, wire: bool) -> Iterator[Fault]:
        if key in self.params:
            yield from self._fields(path, self.params[key], value, wire=wire)
        elif self._is_named(value):
            yield from self._named(path, value)
        elif key in self.responses:
            yield from self._fields(path, self.responses[key], value, wire=wire)

    def _is_named(self, value: Mapping[str, Any]) -> bool:
        """Whether it is an object in its own right; the field `object` of an event's data names none, it is one."""
        name = value.get("object")
        return (isinstance(name, str) and name in self.objects) or value.get("deleted") is True

    def _list(self, path: str, item_shape: Shape, value: Any, *, wire: bool) -> Iterator[Fault]:
        if not isinstance(value, list | tuple):
            yield Fault(path, "type", f"expected a list, got {type(value).__name__} {value!r:.40}")
            return
        for index, item in enumerate(value):
            yield from self._value(f"{path}[{index}]", item_shape, item, wire=wire)

    def _page(self, path: str, item_shape: Shape, value: Any) -> Iterator[Fault]:
        if not isinstance(value, Mapping) or not isinstance(value.get("data"), list):
            yield Fault(path, "type", "expected a page with a list called data")
            return
        yield from (Fault(f"{path}.{extra}", "unknown", "unknown field") for extra in value.keys() - PAGE_FIELDS)
        for index, item in enumerate(value["data"]):
            here = f"{path}.data[{index}]"
            yield from (
                self._named(here, item) if item_shape == "any" else self._value(here, item_shape, item, wire=False)
            )

    def _union(self, path: str, shapes: list[Shape], value: Any, *, wire: bool) -> Iterator[Fault]:
        """No fault when one alternative fits; otherwise the faults of the alternative that comes closest."""
        attempts = [list(self._value(path, shape, value, wire=wire)) for shape in shapes]
        if not any(not faults for faults in attempts):
            nested = [faults for faults in attempts if all(fault.path != path for fault in faults)]
            yield from min(nested or attempts, key=len)


def _operation(raw: dict[str, Any]) -> Operation:
    pattern = re.compile(re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(raw["path"])))
    return Operation(raw["method"], raw["path"], raw["params"], raw["returns"], pattern)


def _specificity(operation: Operation) -> tuple[int, str]:
    """Templates with fewer placeholders first: /v1/subscriptions/search is no subscription called "search"."""
    return operation.path.count("{"), operation.path


def _read_cache(path: Path) -> Derived | None:
    try:
        return Derived(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_cache(path: Path, derived: Derived) -> None:
    """Best effort and atomic: a read-only folder only costs the next process the parsing again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
            json.dump(derived.__dict__, file)
        os.replace(file.name, path)
    except OSError:
        return


@functools.cache
def load(cache_folder: Path = CACHE_FOLDER) -> Contract:
    """The contract of the installed SDK: from the cache of its version, or derived and cached."""
    root = sdk_root()
    path = cache_folder / f"{sdk_version(root)}-{CACHE_FORMAT}.json"
    derived = _read_cache(path)
    if derived is None:
        derived = derive(root)
        _write_cache(path, derived)
    return Contract(derived)


def check_request(method: str, path: str, params: Mapping[str, Any]) -> list[str]:
    return [str(fault) for fault in load().check_request(method, path, params)]


def check_object(obj: Mapping[str, Any]) -> list[str]:
    return [str(fault) for fault in load().check_object(obj)]
