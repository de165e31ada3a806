"""Request parameters: decodes Stripe's form notation and notices which parameters a handler never looked at.

A parameter that Stripe accepts but this stand-in does not model must not be ignored in silence: it would make a test
pass that real Stripe fails. `Params.unread()` names those.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

_PART = re.compile(r"\[([^\]]*)\]")


def _lists(value: Any) -> Any:
    """Turns {"0": a, "1": b} into [a, b], recursively: that is how a form spells a list."""
    if not isinstance(value, dict):
        return value
    items = {name: _lists(item) for name, item in value.items()}
    if items and all(name.isdigit() for name in items):
        return [items[name] for name in sorted(items, key=int)]
    return items


def decode_form(text: str) -> dict[str, Any]:
    """`a[0][b]=1&c=2` as {"a": [{"b": "1"}], "c": "2"}; every scalar stays text."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, _, tail = name.partition("[")
        parts = [head, *_PART.findall(f"[{tail}")] if tail else [head]
        node = root
        for part, following in itertools.pairwise(parts):
            node = node.setdefault(part or str(len(node)), {})
            if not isinstance(node, dict):
                raise ValueError(f"parameter {name} is both a value and a group (next part {following})")
        node[parts[-1] or str(len(node))] = value
    return {name: _lists(item) for name, item in root.items()}


class Params:
    """A read-only view on parameters that remembers what was read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {name: _wrap(value) for name, value in values.items()}
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        """The value; a group comes back as Params, a list of groups as a list of Params."""
        self._read.add(name)
        return self._values.get(name, default)

    def group(self, name: str) -> "Params":
        """A nested group, empty when absent or unset with an empty string."""
        found = self.get(name)
        return found if isinstance(found, Params) else Params({})

    def plain(self, name: str, default: Any = None) -> Any:
        """The value with everything in it, all of it counted as read: for data that is only stored."""
        return _unwrap(self.get(name, default))

    def values(self) -> dict[str, Any]:
        return {name: self.plain(name) for name in self._values}

    def unread(self, prefix: str = "") -> Iterator[str]:
        for name, value in self._values.items():
            if name not in self._read:
                yield f"{prefix}{name}"
            elif isinstance(value, Params):
                yield from value.unread(f"{prefix}{name}.")
            elif isinstance(value, list):
                for item in value:
                    if isinstance(item, Params):
                        yield from item.unread(f"{prefix}{name}[].")


def _wrap(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Params(value)
    return [_wrap(item) for item in value] if isinstance(value, list) else value


def _unwrap(value: Any) -> Any:
    if isinstance(value, Params):
        return value.values()
    return [_unwrap(item) for item in value] if isinstance(value, list) else value
