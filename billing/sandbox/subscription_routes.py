"""The HTTP routes of subscriptions, their items and their schedules."""

from billing.sandbox import payment_methods, plan_changes, subscriptions
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.params import Params
from billing.sandbox.periods import DAY_S
from billing.sandbox.refusals import Refusal, parameter_invalid
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World

PAYMENT_BEHAVIOURS = ("allow_incomplete", "error_if_incomplete")


def _payment_behaviour(params: Params) -> str:
    chosen = params.get("payment_behavior", "allow_incomplete")
    if chosen not in PAYMENT_BEHAVIOURS:
        raise parameter_invalid("payment_behavior", f"The sandbox models {' and '.join(PAYMENT_BEHAVIOURS)} only.")
    return str(chosen)


def trial_end(world: World, params: Params, customer: str) -> int | None:
    days = params.get("trial_period_days")
    wanted = params.get("trial_end")
    if days:
        return world.now(customer) + int(days) * DAY_S
    return int(wanted) if wanted not in (None, "now") else None


def _collection(params: Params) -> Obj:
    method, days = params.get("collection_method", "charge_automatically"), params.get("days_until_due")
    if (method == "send_invoice") != (days is not None):
        raise parameter_invalid("days_until_due", "days_until_due belongs to collection_method=send_invoice.")
    return {"collection_method": method, "days_until_due": days}


@route("POST", "/v1/subscriptions")
def subscription_create(call: Call) -> Obj:
    world, params = call.world, call.params
    customer = world.alive("customer", params.get("customer"), "customer")
    prices = [
        (world.get("price", item.get("price"), "items[0][price]"), item.get("quantity", 1))
        for item in params.get("items", [])
    ]
    if not prices:
        raise parameter_invalid("items", "You must provide at least one item.", "parameter_missing")
    behaviour = _payment_behaviour(params)
    named = params.get("default_payment_method")
    method = payment_methods.resolve(world, named, "default_payment_method") if named else None
    payer = method or payment_methods.default_for(world, customer["id"])
    if behaviour == "error_if_incomplete":
        subscriptions.check_can_pay(world, payer)
    trial = trial_end(world, params, customer["id"])
    subscription = subscriptions.make(
        world,
        customer["id"],
        prices,
        metadata=merged(None, params),
        trial_end=trial,
        anchor=params.get("billing_cycle_anchor"),
    )
    subscription.update(_collection(params))
    subscription["default_payment_method"] = method["id"] if method else None
    subscription["description"] = params.get("description")
    subscriptions.start(world, subscription, payer, off_session=bool(params.get("off_session", True)))
    return subscription


@route("GET", "/v1/subscriptions/{subscription}")
def subscription_retrieve(call: Call) -> Obj:
    return call.world.get("subscription", call.id)


@route("GET", "/v1/subscriptions")
def subscription_list(call: Call) -> Obj:
    status = call.params.get("status")
    found = matching(call, call.world.all("subscription"), "customer", "created", "collection_method", "test_clock")
    if status is None:
        found = [subscription for subscription in found if subscription["status"] not in subscriptions.ENDED]
    elif status == "ended":
        found = [subscription for subscription in found if subscription["status"] in subscriptions.ENDED]
    elif status != "all":
        found = [subscription for subscription in found if subscription["status"] == status]
    if "price" in call.params:
        wanted = call.params.get("price")
        found = [
            subscription
            for subscription in found
            if any(item["price"]["id"] == wanted for item in subscriptions.items_of(subscription))
        ]
    return page(call, "/v1/subscriptions", found)


def _changed_item(subscription: Obj, given: Params) -> Obj:
    wanted = given.get("id")
    for item in subscriptions.items_of(subscription):
        if item["id"] == wanted:
            return item
    raise parameter_invalid("items[0][id]", f"No such subscription item: {wanted!r}", "resource_missing")


def _change_items(call: Call, subscription: Obj) -> None:
    """Applies `items`; the sandbox changes items that exist, it adds and removes none."""
    behaviour = call.params.get("proration_behavior", "create_prorations")
    restart = call.params.group("billing_cycle_anchor").get("type") == "now"
    for given in call.params.get("items", []):
        item = _changed_item(subscription, given)
        price = call.world.get("price", given.get("price"), "items[0][price]") if "price" in given else item["price"]
        plan_changes.change_price(
            call.world,
            subscription,
            item,
            price,
            given.get("quantity", item.get("quantity", 1)),
            behaviour,
            restart=restart,
        )


def _simple_changes(call: Call, subscription: Obj) -> Obj:
    params, fields = call.params, {}
    if "default_payment_method" in params:
        named = params.get("default_payment_method")
        fields["default_payment_method"] = (
            payment_methods.resolve(call.world, named, "default_payment_method")["id"] if named else None
        )
    if "pause_collection" in params:
        given = params.plain("pause_collection")
        fields["pause_collection"] = {"resumes_at": None, **given} if given else None
    if "description" in params:
        fields["description"] = params.get("description")
    if "metadata" in params:
        fields["metadata"] = merged(subscription["metadata"], params)
    return fields


@route("POST", "/v1/subscriptions/{subscription}")
def subscription_update(call: Call) -> Obj:
    world, params = call.world, call.params
    subscription = world.get("subscription", call.id)
    if subscription["status"] in subscriptions.ENDED:
        raise Refusal("A canceled subscription can only update its cancellation_details and metadata.")
    if _payment_behaviour(params) == "error_if_incomplete":
        own = world.find("payment_method", subscription["default_payment_method"])
        subscriptions.check_can_pay(world, own or payment_methods.default_for(world, subscription["customer"]))
    world.change(subscription, "customer.subscription.updated", **_simple_changes(call, subscription))
    if "cancel_at_period_end" in params:
        subscriptions.cancel_at_period_end(
            world, subscription, params.get("cancel_at_period_end"), params.plain("cancellation_details")
        )
    if "cancel_at" in params:
        _cancel_at(world, subscription, params.get("cancel_at"))
    if params.get("trial_end") == "now" and subscription["status"] == "trialing":
        _end_trial(world, subscription)
    _change_items(call, subscription)
    return subscription


def _cancel_at(world: World, subscription: Obj, wanted: object) -> None:
    due = subscriptions.period_end(subscription) if wanted in ("min_period_end", "max_period_end") else wanted
    if not isinstance(due, int):
        due = None
    world.change(subscription, "customer.subscription.updated", cancel_at=due)
    if due is not None:
        world.plan(due, "subscription.cancel_at", subscription["id"], subscription["customer"])


def _end_trial(world: World, subscription: Obj) -> None:
    now = world.now(subscription["customer"])
    for item in subscriptions.items_of(subscription):
        item["current_period_end"] = now
    subscription.update(trial_end=now, billing_cycle_anchor=now)
    subscriptions.plan_end_of_period(world, subscription)


@route("DELETE", "/v1/subscriptions/{subscription}")
def subscription_cancel(call: Call) -> Obj:
    subscription = call.world.get("subscription", call.id)
    if call.params.get("prorate", False) or call.params.get("invoice_now", False):
        raise parameter_invalid("prorate", "The sandbox cancels without prorations only.")
    return subscriptions.cancel(call.world, subscription, details=call.params.plain("cancellation_details"))


@route("POST", "/v1/subscriptions/{subscription}/pause")
def subscription_pause(call: Call) -> Obj:
    call.params.get("type")
    return subscriptions.pause(call.world, call.world.get("subscription", call.id))


@route("POST", "/v1/subscriptions/{subscription}/resume")
def subscription_resume(call: Call) -> Obj:
    anchor = call.params.group("billing_cycle_anchor").get("type", "now")
    return subscriptions.resume(call.world, call.world.get("subscription", call.id), anchor)


@route("GET", "/v1/subscription_items")
def subscription_item_list(call: Call) -> Obj:
    subscription = call.world.get("subscription", call.params.get("subscription"), "subscription")
    return page(call, "/v1/subscription_items", subscriptions.items_of(subscription)[::-1])


@route("GET", "/v1/subscription_schedules/{schedule}")
def schedule_retrieve(call: Call) -> Obj:
    return call.world.get("subscription_schedule", call.id)


@route("GET", "/v1/subscription_schedules")
def schedule_list(call: Call) -> Obj:
    found = matching(call, call.world.all("subscription_schedule"), "customer")
    return page(call, "/v1/subscription_schedules", found)


@route("POST", "/v1/subscription_schedules/{schedule}/release")
def schedule_release(call: Call) -> Obj:
    schedule = call.world.get("subscription_schedule", call.id)
    if schedule["status"] != "active":
        raise Refusal(f"You cannot release a schedule whose status is {schedule['status']}.")
    plan_changes.release_schedule(call.world, call.world.get("subscription", schedule["subscription"]))
    return schedule
