"""Checkout Sessions: creating, reading, updating and expiring them. Paying one is in checkout_pay.py."""

from typing import Any
from urllib.parse import urlsplit

from billing.sandbox import lines, payments
from billing.sandbox.catalogue import price_make
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.params import Params
from billing.sandbox.periods import DAY_S
from billing.sandbox.refusals import Refusal, parameter_invalid, parameter_missing
from billing.sandbox.routing import Call, action, route
from billing.sandbox.world import Obj, World

EXPIRES_S_MIN = 30 * 60  # docs.stripe.com/api/checkout/sessions/create: from 30 minutes to 24 hours
EXPIRES_S_MAX = DAY_S
DATA_OF_MODE = {
    "payment_intent_data": "payment",
    "invoice_creation": "payment",
    "subscription_data": "subscription",
    "setup_intent_data": "setup",
}


def _check_mode(params: Params) -> str:
    mode = params.get("mode")
    if mode is None:
        raise parameter_missing("mode")
    for name, its_mode in DATA_OF_MODE.items():
        if name in params and mode != its_mode:
            raise parameter_invalid(name, f"You can not pass `{name}` in `{mode}` mode.")
    if mode != "setup" and not params.get("line_items"):
        raise parameter_missing("line_items")
    return str(mode)


def _check_urls(params: Params) -> None:
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise parameter_invalid("ui_mode", "The sandbox models hosted pages only.")
    if "success_url" not in params:
        raise parameter_missing("success_url")
    for name in ("success_url", "cancel_url"):
        url = params.get(name)
        if url is not None and not (urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc):
            raise parameter_invalid(name, "Not a valid URL", "url_invalid")


def _customer(call: Call) -> str | None:
    customer = call.params.get("customer")
    if customer is not None and "customer_email" in call.params:
        raise parameter_invalid(
            "customer_email", "You may only specify one of these parameters: customer, customer_email."
        )
    return str(call.world.alive("customer", customer, "customer")["id"]) if customer is not None else None


def _expires_at(call: Call, now: int) -> int:
    expires_at = call.params.get("expires_at", now + EXPIRES_S_MAX)
    if not now + EXPIRES_S_MIN <= expires_at <= now + EXPIRES_S_MAX:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise parameter_invalid("expires_at", message)
    return int(expires_at)


def _line(call: Call, given: Params, mode: str) -> Obj:
    world = call.world
    if ("price" in given) == ("price_data" in given):
        raise parameter_invalid("line_items[0]", "You must specify either `price` or `price_data`.")
    inline = "price_data" in given
    price = (
        price_make(world, given.group("price_data"), active=False)
        if inline
        else world.get("price", given.get("price"), "line_items[0][price]")
    )
    if not inline and not price["active"]:
        raise parameter_invalid(
            "line_items[0][price]",
            f"The price specified is inactive. This field only accepts active prices: {price['id']}",
        )
    if mode == "payment" and price["recurring"]:
        raise parameter_invalid("line_items[0][price]", "You specified `payment` mode but passed a recurring price.")
    quantity = given.get("quantity", 1)
    amount = 0 if (price["recurring"] or {}).get("usage_type") == "metered" else lines.amount_cents(price, quantity)
    return world.new(
        "item",
        id=world.new_id("li"),
        amount_subtotal=amount,
        amount_total=amount,
        currency=price["currency"],
        description=world.get("product", price["product"])["name"],
        price=price,
        quantity=quantity,
    )


def _lines(call: Call, mode: str) -> list[Obj]:
    found = [_line(call, given, mode) for given in call.params.get("line_items", [])]
    if mode == "subscription" and not any(line["price"]["recurring"] for line in found):
        raise parameter_invalid(
            "line_items", "You must provide at least one recurring price in `subscription` mode when using prices."
        )
    if len({line["currency"] for line in found}) > 1:
        raise parameter_invalid("line_items", "All line items must have the same currency.")
    if mode == "payment":
        payments.check_amount(sum(line["amount_subtotal"] for line in found), "line_items")
    return found


def _tax(call: Call, customer: str | None) -> bool:
    """Whether tax is computed; refused as Stripe does when it cannot know where the seller or the buyer is."""
    if not call.params.group("automatic_tax").get("enabled", False):
        return False
    if call.world.rules.tax_basis_points is None:
        message = "You must have a valid head office address to enable automatic tax calculation."
        raise parameter_invalid("automatic_tax[enabled]", message)
    taken_over = call.params.group("customer_update").get("address") == "auto"
    if customer and not taken_over and call.world.get("customer", customer)["address"] is None:
        message = "Automatic tax calculation in Checkout requires a valid address on the Customer."
        raise parameter_invalid("automatic_tax", message, "customer_tax_location_invalid")
    return True


def totals(world: World, session: Obj, discount: int = 0) -> Obj:
    """Amounts of a session: tax comes on top of what is left after the discount."""
    subtotal = sum(line["amount_subtotal"] for line in world.hide(session["id"])["line_items"])
    rate = world.rules.tax_basis_points if session["automatic_tax"]["enabled"] else None
    tax = ((subtotal - discount) * (rate or 0) + 5_000) // 10_000
    details = {"amount_discount": discount, "amount_shipping": 0, "amount_tax": tax}
    return {"amount_subtotal": subtotal, "amount_total": subtotal - discount + tax, "total_details": details}


def _stored_data(params: Params) -> Obj:
    """What the request says about objects that only paying will make."""
    data = {name: params.plain(name) for name in DATA_OF_MODE if name in params}
    _check_modelled(data)
    return data


MODELLED: dict[str, set[str]] = {
    "payment_intent_data": {"metadata", "description", "receipt_email", "setup_future_usage"},
    "subscription_data": {"metadata", "description", "trial_period_days", "trial_end"},
    "setup_intent_data": {"metadata", "description"},
    "invoice_creation": {"enabled", "invoice_data"},
}


def _check_modelled(data: Obj) -> None:
    for name, fields in data.items():
        for extra in fields.keys() - MODELLED[name]:
            raise parameter_invalid(f"{name}[{extra}]", f"The sandbox does not model {name}[{extra}].")


@route("POST", "/v1/checkout/sessions")
def session_create(call: Call) -> Obj:
    world, params = call.world, call.params
    mode = _check_mode(params)
    _check_urls(params)
    customer = _customer(call)
    now = world.now(customer)
    expires_at, tax = _expires_at(call, now), _tax(call, customer)
    found = _lines(call, mode)
    session_id = world.new_id("cs_live" if world.rules.livemode else "cs_test")
    world.hide(session_id).update(line_items=found, data=_stored_data(params))
    session = world.new(
        "checkout.session", id=session_id, created=now, expires_at=expires_at, mode=mode, customer=customer
    )
    session.update(_told(params, mode), metadata=merged(None, params), url=f"{world.base_url}/c/pay/{session_id}")
    session["automatic_tax"]["enabled"] = tax
    session["currency"] = found[0]["currency"] if found else params.get("currency")
    session.update(totals(world, session) if mode != "setup" else {"payment_status": "no_payment_required"})
    world.plan(expires_at, "checkout.expire", session_id, customer)
    return session


def _told(params: Params, mode: str) -> dict[str, Any]:
    """Fields that only repeat the request."""
    creation = params.group("invoice_creation").get("enabled", False)
    data: Obj = {
        "account_tax_ids": None,
        "custom_fields": None,
        "description": None,
        "footer": None,
        "issuer": None,
        "metadata": {},
        "rendering_options": None,
    }
    names = (
        "allow_promotion_codes",
        "cancel_url",
        "client_reference_id",
        "customer_email",
        "locale",
        "submit_type",
        "success_url",
    )
    return {
        **{name: params.get(name) for name in names},
        "adaptive_pricing": {"enabled": params.group("adaptive_pricing").get("enabled", True)}
        if mode == "payment"
        else None,
        "billing_address_collection": params.get("billing_address_collection"),
        "customer_creation": params.get("customer_creation", "always" if mode == "subscription" else "if_required"),
        "invoice_creation": {"enabled": creation, "invoice_data": data} if mode == "payment" else None,
    }


@route("GET", "/v1/checkout/sessions/{session}")
def session_retrieve(call: Call) -> Obj:
    return call.world.get("checkout.session", call.id)


@route("POST", "/v1/checkout/sessions/{session}")
def session_update(call: Call) -> Obj:
    session = call.world.get("checkout.session", call.id)
    session["metadata"] = merged(session["metadata"], call.params)
    return session


@route("GET", "/v1/checkout/sessions/{session}/line_items")
def session_lines(call: Call) -> Obj:
    call.world.get("checkout.session", call.id)
    return page(call, f"/v1/checkout/sessions/{call.id}/line_items", call.world.hide(call.id)["line_items"][::-1])


@route("GET", "/v1/checkout/sessions")
def session_list(call: Call) -> Obj:
    found = matching(
        call, call.world.all("checkout.session"), "customer", "payment_intent", "status", "subscription", "created"
    )
    return page(call, "/v1/checkout/sessions", found)


def require_open(world: World, session: Obj) -> None:
    if session["status"] != "open":
        only = 'Only Checkout Sessions with a status in ["open"] can be used.'
        raise Refusal(f"{only} Checkout Session {session['id']} has a status of `{session['status']}`.")


def expire(world: World, session: Obj) -> Obj:
    session.update(status="expired", url=None)
    world.emit("checkout.session.expired", session)
    return session


@route("POST", "/v1/checkout/sessions/{session}/expire")
def session_expire(call: Call) -> Obj:
    session = call.world.get("checkout.session", call.id)
    require_open(call.world, session)
    return expire(call.world, session)


@action("checkout.expire")
def expire_when_due(world: World, session_id: str) -> None:
    session = world.get("checkout.session", session_id)
    if session["status"] == "open":
        expire(world, session)
