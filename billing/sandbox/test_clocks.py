"""Test clocks: time of their own for the customers made with them (docs.stripe.com/billing/testing/test-clocks)."""

from billing.sandbox import customers
from billing.sandbox.lists import page
from billing.sandbox.periods import DAY_S
from billing.sandbox.refusals import Refusal, parameter_invalid
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj

KEPT_S = 30 * DAY_S


@route("POST", "/v1/test_helpers/test_clocks")
def test_clock_create(call: Call) -> Obj:
    if call.world.rules.livemode:
        raise Refusal("Test clocks exist in test mode only.", status=404)
    now = call.world.now()
    return call.world.new(
        "test_helpers.test_clock",
        id=call.world.new_id("clock"),
        created=now,
        deletes_after=now + KEPT_S,
        frozen_time=call.params.get("frozen_time"),
        name=call.params.get("name"),
    )


@route("GET", "/v1/test_helpers/test_clocks/{test_clock}")
def test_clock_retrieve(call: Call) -> Obj:
    return call.world.get("test_helpers.test_clock", call.id)


@route("GET", "/v1/test_helpers/test_clocks")
def test_clock_list(call: Call) -> Obj:
    return page(call, "/v1/test_helpers/test_clocks", call.world.all("test_helpers.test_clock"))


@route("POST", "/v1/test_helpers/test_clocks/{test_clock}/advance")
def test_clock_advance(call: Call) -> Obj:
    """Only announces it: the work is done after this answer, so a caller must wait for the status `ready`."""
    clock, target = call.world.get("test_helpers.test_clock", call.id), call.params.get("frozen_time")
    if clock["status"] == "advancing":
        raise Refusal("Cannot advance a test clock that is already advancing.", status=429, code="rate_limit")
    if target <= clock["frozen_time"]:
        raise parameter_invalid("frozen_time", "You can only advance a test clock forward in time.")
    clock.update(status="advancing", status_details={"advancing": {"target_frozen_time": target}})
    call.world.emit("test_helpers.test_clock.advancing", clock)
    return clock


@route("DELETE", "/v1/test_helpers/test_clocks/{test_clock}")
def test_clock_delete(call: Call) -> Obj:
    """The customers of a clock go with it."""
    clock = call.world.get("test_helpers.test_clock", call.id)
    for customer in call.world.all("customer"):
        if customer.get("test_clock") == clock["id"]:
            customers.delete(call.world, customer)
    call.world.state.agenda[:] = [entry for entry in call.world.state.agenda if entry[4] != clock["id"]]
    call.world.remove(clock)
    call.world.emit("test_helpers.test_clock.deleted", clock)
    return {"id": clock["id"], "object": "test_helpers.test_clock", "deleted": True}
