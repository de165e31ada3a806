"""What the console's records say, in words: names and values as they were noted become readable, none is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django import template

from gateway.templatetags.units import cents, long_when, price

register = template.Library()

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT")


@register.filter
def words(name: str) -> str:
    """A name of the code or of the payment provider: past_due -> past due."""
    return name.replace("_", " ")


@register.filter
def facts(noted: Mapping[str, Any]) -> list[tuple[str, str]]:
    """{"amount_microusd": 4700, "until": None} -> amount: $0.0047, until: none."""
    return [_fact(name, value) for name, value in noted.items()]


def _fact(name: str, value: Any) -> tuple[str, str]:
    for ending, text in (("_microusd", price), ("_cents", cents)):
        if name.endswith(ending) and isinstance(value, int):
            return words(name.removesuffix(ending)), text(value)
    return words(name), _text(value)


def _text(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, str) and MOMENT.match(value):
        return f"{long_when(datetime.fromisoformat(value).astimezone(UTC))} UTC"
    return str(value)
