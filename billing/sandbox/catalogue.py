"""Products and prices. A price's amount never changes; a lookup key moves from an old price to a new one."""

from typing import Any

from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.params import Params
from billing.sandbox.refusals import Refusal, parameter_invalid, parameter_missing
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World

PRODUCT_FIELDS = ("description", "statement_descriptor", "unit_label", "url", "tax_code")


def product_make(world: World, params: Params) -> Obj:
    product_id, now = params.get("id") or world.new_id("prod"), world.now()
    if world.find("product", product_id):
        raise Refusal("Product already exists.", code="resource_already_exists", param="id")
    fields = {name: params.get(name) or None for name in PRODUCT_FIELDS}
    product = world.new(
        "product",
        id=product_id,
        active=params.get("active", True),
        created=now,
        images=params.plain("images", []),
        marketing_features=params.plain("marketing_features", []),
        metadata=merged(None, params),
        name=params.get("name"),
        updated=now,
        **fields,
    )
    world.emit("product.created", product)
    return product


@route("POST", "/v1/products")
def product_create(call: Call) -> Obj:
    return product_make(call.world, call.params)


@route("GET", "/v1/products/{id}")
def product_retrieve(call: Call) -> Obj:
    return call.world.get("product", call.id)


@route("POST", "/v1/products/{id}")
def product_update(call: Call) -> Obj:
    product = call.world.get("product", call.id)
    names = [name for name in ("active", "name", "default_price", *PRODUCT_FIELDS) if name in call.params]
    fields = {name: call.params.get(name) for name in names}
    return call.world.change(
        product,
        "product.updated",
        **fields,
        metadata=merged(product["metadata"], call.params),
        updated=call.world.now(),
    )


@route("GET", "/v1/products")
def product_list(call: Call) -> Obj:
    wanted = call.params.plain("ids")
    found = [product for product in call.world.all("product") if wanted is None or product["id"] in wanted]
    return page(call, "/v1/products", matching(call, found, "active", "created"))


def _amounts(params: Params) -> Obj:
    """Whole cents, or a decimal string when the price is a fraction of a cent."""
    if "unit_amount_decimal" in params:
        text = str(params.get("unit_amount_decimal"))
        whole = int(text) if text.lstrip("-").isdigit() else None
        return {"unit_amount": whole, "unit_amount_decimal": text}
    if "unit_amount" not in params:
        raise parameter_missing("unit_amount")
    amount = params.get("unit_amount")
    if amount < 0:
        raise parameter_invalid("unit_amount", "Invalid non-negative integer", "parameter_invalid_integer")
    return {"unit_amount": amount, "unit_amount_decimal": str(amount)}


def _recurring(world: World, params: Params) -> Obj | None:
    if "recurring" not in params:
        return None
    group = params.group("recurring")
    meter = group.get("meter")
    if meter is not None:
        world.get("billing.meter", meter, "recurring[meter]")
    usage_type = group.get("usage_type", "licensed")
    if usage_type == "metered" and meter is None:
        raise parameter_missing("recurring[meter]")
    return {
        "interval": group.get("interval"),
        "interval_count": group.get("interval_count", 1),
        "meter": meter,
        "trial_period_days": group.get("trial_period_days"),
        "usage_type": usage_type,
    }


def _take_lookup_key(world: World, params: Params, own: str | None = None) -> str | None:
    """A lookup key names one price; another price keeps it unless transfer_lookup_key says so."""
    key = params.get("lookup_key") or None
    transfer = params.get("transfer_lookup_key", False)
    holder = next(
        (price for price in world.all("price") if key and price["lookup_key"] == key and price["id"] != own), None
    )
    if holder is not None:
        if not transfer:
            raise parameter_invalid("lookup_key", f"A price (`{holder['id']}`) already uses that lookup key.")
        world.change(holder, "price.updated", lookup_key=None)
    return key


def price_make(world: World, params: Params, *, active: bool = True) -> Obj:
    """A price from create parameters or from an inline `price_data`, which makes an inactive price."""
    if ("product" in params) == ("product_data" in params):
        raise parameter_invalid("product", "You must specify either `product` or `product_data` when creating a price.")
    amounts, recurring = _amounts(params), _recurring(world, params)
    product = (
        world.get("product", params.get("product"), "product")
        if "product" in params
        else product_make(world, params.group("product_data"))
    )
    price = world.new(
        "price",
        id=world.new_id("price"),
        active=params.get("active", active),
        created=world.now(),
        currency=params.get("currency").lower(),
        lookup_key=_take_lookup_key(world, params),
        metadata=merged(None, params),
        nickname=params.get("nickname"),
        product=product["id"],
        recurring=recurring,
        tax_behavior=params.get("tax_behavior", "unspecified"),
        type="recurring" if recurring else "one_time",
        **amounts,
    )
    world.emit("price.created", price)
    return price


@route("POST", "/v1/prices")
def price_create(call: Call) -> Obj:
    return price_make(call.world, call.params)


@route("GET", "/v1/prices/{price}")
def price_retrieve(call: Call) -> Obj:
    return call.world.get("price", call.id)


@route("POST", "/v1/prices/{price}")
def price_update(call: Call) -> Obj:
    price = call.world.get("price", call.id)
    fields: dict[str, Any] = {
        name: call.params.get(name) for name in ("active", "nickname", "tax_behavior") if name in call.params
    }
    if "lookup_key" in call.params:
        fields["lookup_key"] = _take_lookup_key(call.world, call.params, price["id"])
    return call.world.change(price, "price.updated", **fields, metadata=merged(price["metadata"], call.params))


@route("GET", "/v1/prices")
def price_list(call: Call) -> Obj:
    keys = call.params.plain("lookup_keys")
    found = [price for price in call.world.all("price") if keys is None or price["lookup_key"] in keys]
    return page(call, "/v1/prices", matching(call, found, "active", "currency", "product", "type", "created"))


def plan_of(price: Obj) -> Obj:
    """The old `plan` view of a recurring price, which subscription items still carry."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }
