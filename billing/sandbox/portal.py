"""The Billing Portal: configurations, sessions, and what a person may do on its page."""

import copy

from billing.sandbox import payment_methods, plan_changes, subscriptions
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.params import Params
from billing.sandbox.refusals import Refusal, parameter_invalid, parameter_missing
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World

FEATURES: Obj = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": []},
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
    "subscription_update": {
        "default_allowed_updates": [],
        "enabled": False,
        "products": [],
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}
PROFILE = ("headline", "privacy_policy_url", "terms_of_service_url")


def _features(params: Params, before: Obj) -> Obj:
    features = copy.deepcopy(before)
    for name, given in (params.plain("features") or {}).items():
        features[name].update(given)
    for product in features["subscription_update"]["products"] or []:
        product.setdefault("adjustable_quantity", {"enabled": False, "maximum": None, "minimum": 1})
    return features


def _check_products(world: World, features: Obj) -> None:
    update = features["subscription_update"]
    if update["enabled"] and not update["products"]:
        raise parameter_missing("features[subscription_update][products]")
    for product in update["products"] or []:
        for price in product["prices"]:
            if (
                world.get("price", price, "features[subscription_update][products][0][prices]")["product"]
                != product["product"]
            ):
                raise parameter_invalid(
                    "features[subscription_update][products]",
                    f"The price {price} does not belong to the product {product['product']}.",
                )


@route("POST", "/v1/billing_portal/configurations")
def configuration_create(call: Call) -> Obj:
    world, params = call.world, call.params
    features = _features(params, FEATURES)
    _check_products(world, features)
    profile, now = params.group("business_profile"), world.now()
    first = not world.all("billing_portal.configuration")
    configuration = world.new(
        "billing_portal.configuration",
        id=world.new_id("bpc"),
        business_profile={name: profile.get(name) for name in PROFILE},
        created=now,
        default_return_url=params.get("default_return_url"),
        features=features,
        is_default=first,
        metadata=merged(None, params),
        name=params.get("name"),
        updated=now,
    )
    world.emit("billing_portal.configuration.created", configuration)
    return configuration


@route("GET", "/v1/billing_portal/configurations/{configuration}")
def configuration_retrieve(call: Call) -> Obj:
    return call.world.get("billing_portal.configuration", call.id)


@route("POST", "/v1/billing_portal/configurations/{configuration}")
def configuration_update(call: Call) -> Obj:
    world, params = call.world, call.params
    configuration = world.get("billing_portal.configuration", call.id)
    features = _features(params, configuration["features"])
    _check_products(world, features)
    names = [name for name in ("active", "default_return_url", "name") if name in params]
    fields = {name: params.get(name) for name in names}
    if "business_profile" in params:
        fields["business_profile"] = {**configuration["business_profile"], **params.plain("business_profile")}
    return world.change(
        configuration,
        "billing_portal.configuration.updated",
        **fields,
        features=features,
        metadata=merged(configuration["metadata"], params),
        updated=world.now(),
    )


@route("GET", "/v1/billing_portal/configurations")
def configuration_list(call: Call) -> Obj:
    found = matching(call, call.world.all("billing_portal.configuration"), "active", "is_default")
    return page(call, "/v1/billing_portal/configurations", found)


def _configuration(call: Call) -> Obj:
    if "configuration" in call.params:
        return call.world.get("billing_portal.configuration", call.params.get("configuration"), "configuration")
    default = next((found for found in call.world.all("billing_portal.configuration") if found["is_default"]), None)
    if default is None:
        raise Refusal("No configuration provided and your test mode default configuration has not been created.")
    return default


def _flow(params: Params) -> Obj | None:
    if "flow_data" not in params:
        return None
    given = params.plain("flow_data")
    empty = dict.fromkeys(
        (
            "customer_update",
            "subscription_cancel",
            "subscription_pause",
            "subscription_update",
            "subscription_update_confirm",
        )
    )
    return {**empty, "after_completion": {"type": "portal_homepage"}, **given}


@route("POST", "/v1/billing_portal/sessions")
def session_create(call: Call) -> Obj:
    world, params = call.world, call.params
    customer = world.alive("customer", params.get("customer"), "customer")
    configuration = _configuration(call)
    session_id = world.new_id("bps")
    session = world.new(
        "billing_portal.session",
        id=session_id,
        configuration=configuration["id"],
        created=world.now(),
        customer=customer["id"],
        flow=_flow(params),
        return_url=params.get("return_url") or configuration["default_return_url"],
        url=f"{world.base_url}/p/session/{session_id}",
    )
    world.emit("billing_portal.session.created", session)
    return session


# What the page offers


def open_session(world: World, session_id: str) -> Obj | None:
    """The session, unless its short-lived link is over."""
    session = world.find("billing_portal.session", session_id)
    return session if session and world.now() - session["created"] <= world.rules.session_url_s else None


def features_of(world: World, session: Obj) -> Obj:
    features: Obj = world.get("billing_portal.configuration", session["configuration"])["features"]
    return features


def subscription_of(world: World, session: Obj, subscription_id: str) -> Obj:
    subscription = world.get("subscription", subscription_id)
    if subscription["customer"] != session["customer"]:
        raise parameter_invalid("subscription", "This subscription belongs to somebody else.")
    return subscription


def _require(enabled: bool) -> None:
    if not enabled:
        raise Refusal("The portal's configuration does not offer this.", status=403)


def cancel(world: World, session: Obj, subscription_id: str) -> None:
    feature = features_of(world, session)["subscription_cancel"]
    _require(feature["enabled"])
    subscription = subscription_of(world, session, subscription_id)
    if feature["mode"] == "immediately":
        subscriptions.cancel(world, subscription)
    else:
        plan_changes.release_schedule(world, subscription)
        subscriptions.cancel_at_period_end(world, subscription, True)


def renew(world: World, session: Obj, subscription_id: str) -> None:
    """Takes a planned end or a planned switch back."""
    subscription = subscription_of(world, session, subscription_id)
    plan_changes.release_schedule(world, subscription)
    if subscription["cancel_at_period_end"]:
        subscriptions.cancel_at_period_end(world, subscription, False)


def offered_prices(world: World, session: Obj) -> list[Obj]:
    feature = features_of(world, session)["subscription_update"]
    products = (feature["products"] or []) if feature["enabled"] else []
    return [world.get("price", price) for product in products for price in product["prices"]]


def switch(world: World, session: Obj, subscription_id: str, price_id: str) -> None:
    """Switches the plan: at once with the configured prorations, or at the period's end where so configured."""
    feature = features_of(world, session)["subscription_update"]
    _require(feature["enabled"] and price_id in {price["id"] for price in offered_prices(world, session)})
    subscription = subscription_of(world, session, subscription_id)
    item, price = subscriptions.items_of(subscription)[0], world.get("price", price_id)
    quantity = item.get("quantity", 1)
    conditions = {condition["type"] for condition in feature["schedule_at_period_end"]["conditions"]}
    if "decreasing_item_amount" in conditions and (price["unit_amount"] or 0) < (item["price"]["unit_amount"] or 0):
        plan_changes.schedule_price(world, subscription, item, price, quantity)
    else:
        plan_changes.release_schedule(world, subscription)
        plan_changes.change_price(world, subscription, item, price, quantity, feature["proration_behavior"])


def replace_method(world: World, session: Obj, behaviour: str) -> None:
    """Adds a payment method and makes it the one for everything to come."""
    _require(features_of(world, session)["payment_method_update"]["enabled"])
    customer = world.get("customer", session["customer"])
    method = payment_methods.attach(world, payment_methods.make(world, behaviour), customer["id"])
    world.change(
        customer,
        "customer.updated",
        invoice_settings={**customer["invoice_settings"], "default_payment_method": method["id"]},
    )
    for subscription in world.all("subscription"):
        if subscription["customer"] == customer["id"] and subscription["status"] not in subscriptions.ENDED:
            world.change(subscription, "customer.subscription.updated", default_payment_method=method["id"])
