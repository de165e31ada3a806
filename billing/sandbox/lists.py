"""Pages of objects: filters, cursors and limits, newest first (docs.stripe.com/api/pagination)."""

from collections.abc import Callable, Iterable
from typing import Any

from billing.sandbox.refusals import parameter_invalid
from billing.sandbox.routing import Call
from billing.sandbox.world import Obj

LIMIT_DEFAULT = 10
LIMIT_MAX = 100
COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


def _in_range(value: int, wanted: Any) -> bool:
    """Whether an instant is the wanted one, or lies in the wanted range of gt, gte, lt, lte."""
    if not isinstance(wanted, dict):
        return bool(value == wanted)
    return all(COMPARISONS[name](value, bound) for name, bound in wanted.items())


def matching(call: Call, objects: Iterable[Obj], *names: str) -> list[Obj]:
    """Objects whose fields equal the parameters of the same names; `created` may be a range."""
    chosen = list(objects)
    for name in names:
        if name in call.params:
            wanted = call.params.plain(name)
            chosen = (
                [obj for obj in chosen if _in_range(obj[name], wanted)]
                if name == "created"
                else [obj for obj in chosen if obj.get(name) == wanted]
            )
    return chosen


def _limit(call: Call) -> int:
    limit = call.params.get("limit", LIMIT_DEFAULT)
    if not 1 <= limit <= LIMIT_MAX:
        raise parameter_invalid("limit", f"This value must be between 1 and {LIMIT_MAX}.", "parameter_invalid_integer")
    return int(limit)


def _position(objects: list[Obj], cursor: str, param: str) -> int:
    for index, obj in enumerate(objects):
        if obj["id"] == cursor:
            return index
    raise parameter_invalid(param, f"No such object: '{cursor}'", "resource_missing")


def page(call: Call, url: str, objects: list[Obj]) -> Obj:
    """One page of objects given oldest first."""
    newest_first = objects[::-1]
    limit = _limit(call)
    if "ending_before" in call.params:
        end = _position(newest_first, call.params.get("ending_before"), "ending_before")
        start = max(0, end - limit)
        return {"object": "list", "data": newest_first[start:end], "has_more": start > 0, "url": url}
    start = 0
    if "starting_after" in call.params:
        start = _position(newest_first, call.params.get("starting_after"), "starting_after") + 1
    data = newest_first[start : start + limit]
    return {"object": "list", "data": data, "has_more": start + limit < len(newest_first), "url": url}


def whole(url: str, objects: list[Obj]) -> Obj:
    """A list that stands inside an object: all of it, in its own order."""
    return {"object": "list", "data": objects, "has_more": False, "url": url}
