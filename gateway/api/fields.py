"""Tolerant reading: numbers as texts, yes as true, "null" as nothing. Collects every fault instead of stopping at one.

It knows the spelling of values and nothing of what a field means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop as _

from inference.errors import InvalidRequest

ABSENT = frozenset({"", "null", "none"})
YES = frozenset({"yes", "true", "1", "on", "y", "t"})
NO = frozenset({"no", "false", "0", "off", "n", "f"})
ABSENT_CHARS_MAX = 12
ECHO_CHARS_MAX = 80
# PostgreSQL turns larger floats into integers of any length, which JSON's other readers then refuse.
EXACT_BELOW = 10**15


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request, for programs (code, field, limit) and for people (message)."""

    field: str
    code: str
    message: str
    value: Any = None
    limit: Any = None

    def to_dict(self) -> dict[str, Any]:
        shown = {"field": self.field, "code": self.code, "message": self.message, "value": echo(self.value)}
        return shown if self.limit is None else shown | {"limit": self.limit}


class Fields:
    """The fields of one request. `adjusted` says which value was used in place of the one that was asked for."""

    __slots__ = ("adjusted", "faults", "given")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.faults: list[Fault] = []
        self.adjusted: list[dict[str, Any]] = []

    def value(self, *names: str) -> Any:
        """The first of these fields that is there; None when all of them are absent in any of the ways of saying so."""
        for name in names:
            value = self.given.get(name)
            if value is not None and not is_absent(value):
                return value
        return None

    def text(self, *names: str, default: str = "", chars_max: int) -> str:
        value = self.value(*names)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            self.fault(names[0], "invalid", "must be a text", value)
            return default
        if len(value) > chars_max:
            message = _("has {} characters; at most {} are accepted").format(len(value), chars_max)
            self.fault(names[0], "too_long", message, value, limit=chars_max)
            return default
        return value

    def whole(self, *names: str, default: int, low: int, high: int) -> int:
        """A whole number, brought into its range: the reply then tells what was used."""
        value = self.value(*names)
        if value is None:
            return default
        number = as_whole(value)
        if number is None:
            self.fault(names[0], "invalid", "must be a whole number", value)
            return default
        return number if low <= number <= high else self._within(names[0], number, low, high)

    def number(self, *names: str, default: float, low: float, high: float) -> float:
        value = self.value(*names)
        if value is None:
            return default
        number = as_number(value)
        if number is None:
            self.fault(names[0], "invalid", "must be a number", value)
            return default
        return number if low <= number <= high else self._within(names[0], number, low, high)

    def numbers(self, name: str, *, low: float, high: float) -> list[float]:
        """A comma list, a JSON list, or one number; [] when it is absent."""
        found: list[float] = []
        for item in as_list(self.value(name)):
            number = as_number(item)
            if number is None:
                self.fault(name, "invalid", "must be a number, or numbers separated by commas", item)
                return []
            found.append(number if low <= number <= high else self._within(name, number, low, high))
        return found

    def flag(self, *names: str, default: bool) -> bool:
        value = self.value(*names)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, str | int | float) else ""
        if word in YES or word in NO:
            return word in YES
        self.fault(names[0], "invalid", "must be yes or no", value)
        return default

    def choice(self, name: str, *, default: str, choices: Iterable[str]) -> str:
        value = self.value(name)
        if value is None:
            return default
        word = str(value).strip().lower()
        if word not in choices:
            known = sorted(choices)
            self.fault(name, "unknown", f"must be one of {', '.join(known)}", value, limit=known)
            return default
        return word

    def fault(self, field: str, code: str, message: str, value: Any = None, *, limit: Any = None) -> None:
        """`message` goes on after the field's name; the value is added when there is one."""
        got = "" if value is None else f", not {echo(value)!r}" if code in ("invalid", "unknown") else ""
        self.faults.append(Fault(field, code, f"{field} {message}{got}.", value, limit))

    def check(self) -> None:
        """Raises InvalidRequest when anything is at fault."""
        if self.faults:
            raise self.refusal()

    def refusal(self) -> InvalidRequest:
        """Every fault in one refusal."""
        return InvalidRequest(
            summary=" ".join(fault.message for fault in self.faults),
            faults=[fault.to_dict() for fault in self.faults],
        )

    def require(self, field: str) -> None:
        self.fault(field, "required", _("is required"))

    def adjust(self, field: str, asked: Any, used: Any, why: str) -> None:
        self.adjusted.append({"field": field, "asked": echo(asked), "used": used, "why": why})

    def _within(self, field: str, number: Any, low: Any, high: Any) -> Any:
        used = low if number < low else high
        self.adjust(field, number, used, f"{field} is at {'least' if number < low else 'most'} {used}")
        return used


def is_absent(value: Any) -> bool:
    if type(value) is not str:
        return value is None or value == [] or value == {}
    if len(value) > ABSENT_CHARS_MAX:
        return value.isspace()
    return value.strip().lower() in ABSENT


def as_whole(value: Any) -> int | None:
    """512 from 512, 512.0, "512" and "512.0"; None from anything else."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = as_number(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def as_number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_list(value: Any) -> list[Any]:
    """A JSON list or a comma list, without its absent entries."""
    if value is None:
        return []
    items = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
    items = [item.strip() if isinstance(item, str) else item for item in items]
    return [item for item in items if not is_absent(item)]


def echo(value: Any) -> Any:
    """A value as an error may show it: short, and never a structure or a file."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < EXACT_BELOW else f"{float(value):g}" if abs(value) < 1e300 else "a huge number"
    if isinstance(value, str):
        return value if len(value) <= ECHO_CHARS_MAX else value[:ECHO_CHARS_MAX] + "…"
    return f"a {'list' if isinstance(value, list) else 'file' if isinstance(value, bytes) else 'structure'}"
