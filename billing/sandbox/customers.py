"""Customers. Deleting one cancels what it owns through the `customer.deleted` signal."""

from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.routing import Call, route, signal
from billing.sandbox.world import Obj, World

SIMPLE_FIELDS = ("description", "email", "name", "phone")
ADDRESS_FIELDS = ("city", "country", "line1", "line2", "postal_code", "state")


def _address(call: Call, before: Obj | None) -> Obj | None:
    if "address" not in call.params:
        return before
    given = call.params.plain("address")
    return {name: given.get(name) for name in ADDRESS_FIELDS} if given else None


def _invoice_settings(call: Call, before: Obj) -> Obj:
    group = call.params.group("invoice_settings")
    if "default_payment_method" not in group:
        return before
    chosen = group.get("default_payment_method") or None
    if chosen is not None:
        call.world.get("payment_method", chosen, "invoice_settings[default_payment_method]")
    return {**before, "default_payment_method": chosen}


@route("POST", "/v1/customers")
def customer_create(call: Call) -> Obj:
    world, params = call.world, call.params
    clock = params.get("test_clock")
    if clock is not None:
        world.get("test_helpers.test_clock", clock, "test_clock")
    fields = {name: params.get(name) or None for name in SIMPLE_FIELDS}
    customer = world.new(
        "customer",
        id=world.new_id("cus"),
        address=_address(call, None),
        balance=params.get("balance", 0),
        created=world.get("test_helpers.test_clock", clock)["frozen_time"] if clock else world.now(),
        invoice_prefix=world.new_id("prefix")[-8:].upper(),
        metadata=merged(None, params),
        preferred_locales=params.plain("preferred_locales", []),
        tax_exempt=params.get("tax_exempt", "none"),
        test_clock=clock,
        **fields,
    )
    customer["invoice_settings"] = _invoice_settings(call, customer["invoice_settings"])
    world.emit("customer.created", customer)
    return customer


@route("GET", "/v1/customers/{customer}")
def customer_retrieve(call: Call) -> Obj:
    return call.world.get("customer", call.id)


@route("POST", "/v1/customers/{customer}")
def customer_update(call: Call) -> Obj:
    customer = call.world.alive("customer", call.id, "id")
    fields = {name: call.params.get(name) or None for name in SIMPLE_FIELDS if name in call.params}
    return call.world.change(
        customer,
        "customer.updated",
        **fields,
        address=_address(call, customer["address"]),
        invoice_settings=_invoice_settings(call, customer["invoice_settings"]),
        metadata=merged(customer["metadata"], call.params),
    )


@route("DELETE", "/v1/customers/{customer}")
def customer_delete(call: Call) -> Obj:
    return delete(call.world, call.world.alive("customer", call.id, "id"))


def delete(world: World, customer: Obj) -> Obj:
    """Cancels its subscriptions, announces it, and leaves the stub that Stripe keeps answering with."""
    signal(world, "customer.deleted", customer)
    world.emit("customer.deleted", customer)
    return world.add({"id": customer["id"], "object": "customer", "deleted": True})


@route("GET", "/v1/customers")
def customer_list(call: Call) -> Obj:
    clock = call.params.get("test_clock")
    alive = [found for found in call.world.all("customer") if not found.get("deleted") and found["test_clock"] == clock]
    return page(call, "/v1/customers", matching(call, alive, "email", "created"))
