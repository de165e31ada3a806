"""Replaces ids by the objects they name, where the request asked for it (docs.stripe.com/api/expanding_objects)."""

import copy
from typing import Any

from billing.sandbox.lists import whole
from billing.sandbox.refusals import parameter_invalid
from billing.sandbox.world import Obj, World

DEPTH_MAX = 4


def _hidden_list(world: World, obj: Obj, name: str) -> Obj | None:
    """Lists that Stripe leaves out of an object unless asked for."""
    if obj.get("object") == "invoice" and name == "payments":
        found = [payment for payment in world.all("invoice_payment") if payment["invoice"] == obj["id"]]
        return whole(f"/v1/invoice_payments?invoice={obj['id']}", copy.deepcopy(found))
    if obj.get("object") == "charge" and name == "refunds":
        found = [refund for refund in world.all("refund") if refund["charge"] == obj["id"]]
        return whole(f"/v1/charges/{obj['id']}/refunds", copy.deepcopy(found[::-1]))
    if obj.get("object") == "checkout.session" and name == "line_items":
        lines = world.hide(obj["id"])["line_items"]
        return whole(f"/v1/checkout/sessions/{obj['id']}/line_items", copy.deepcopy(lines))
    return None


def _expanded(world: World, node: Obj, name: str, path: str) -> Any:
    hidden = _hidden_list(world, node, name)
    if hidden is not None:
        return hidden
    if name not in node:
        raise parameter_invalid("expand", f"This property cannot be expanded ({path}).")
    value = node[name]
    found = world.any(value) if isinstance(value, str) else None
    if isinstance(value, str) and found is None:
        raise parameter_invalid("expand", f"This property cannot be expanded ({path}).")
    return copy.deepcopy(found) if found is not None else value


def _follow(world: World, node: Any, parts: list[str], path: str) -> None:
    if isinstance(node, list):
        for item in node:
            _follow(world, item, parts, path)
    elif isinstance(node, dict) and parts:
        node[parts[0]] = _expanded(world, node, parts[0], path)
        _follow(world, node[parts[0]], parts[1:], path)


def apply(world: World, result: Obj, paths: list[str]) -> Obj:
    """A copy of the result with every path of `expand` followed."""
    result = copy.deepcopy(result)
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEPTH_MAX:
            raise parameter_invalid("expand", f"You cannot expand more than {DEPTH_MAX} levels of a property ({path}).")
        _follow(world, result, parts, path)
    return result
