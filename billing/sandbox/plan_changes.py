"""Changing what a subscription sells: another price or quantity, with prorations or without, now or at the end."""

from billing.sandbox import invoices, lines, subscriptions
from billing.sandbox.catalogue import plan_of
from billing.sandbox.refusals import parameter_invalid
from billing.sandbox.world import Obj, World, require_choice

BEHAVIOURS = ("create_prorations", "always_invoice", "none")


def change_price(
    world: World, subscription: Obj, item: Obj, price: Obj, quantity: int, behaviour: str, *, restart: bool = False
) -> None:
    """Puts another price on an item. A price with another interval starts a new period, as Stripe does."""
    require_choice("proration_behavior", behaviour, BEHAVIOURS)
    if price["recurring"] is None:
        raise parameter_invalid("items", "A subscription takes recurring prices only.")
    if (price["id"], quantity) == (item["price"]["id"], item.get("quantity", 1)):
        return
    now = world.now(subscription["customer"])
    restart = restart or _interval(price) != _interval(item["price"])
    new_lines = _credit(world, subscription, item, behaviour, now)
    before = {
        "items": {**subscription["items"], "data": [dict(found) for found in subscriptions.items_of(subscription)]}
    }
    item.update(price=price, plan=plan_of(price), quantity=quantity)
    if restart:
        subscriptions.restart_period(world, subscription)
        new_lines += [lines.for_period(world, item)]
    elif new_lines:
        new_lines.append(lines.proration(world, item, price, quantity, now, credit=False))
    world.emit("customer.subscription.updated", subscription, before)
    _bill_or_wait(world, subscription, new_lines, now_due=restart or behaviour == "always_invoice")


def _interval(price: Obj) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _credit(world: World, subscription: Obj, item: Obj, behaviour: str, now: int) -> list[Obj]:
    """The unused rest of the old price; nothing in a trial, nothing when prorations are off or the period is over."""
    if (
        behaviour == "none"
        or subscription["status"] == "trialing"
        or now >= item["current_period_end"]
        or "quantity" not in item
    ):
        return []
    return [lines.proration(world, item, item["price"], item["quantity"], now, credit=True)]


def _bill_or_wait(world: World, subscription: Obj, new_lines: list[Obj], *, now_due: bool) -> None:
    if not new_lines:
        return
    if not now_due:
        world.hide(subscription["id"]).setdefault("pending_lines", []).extend(new_lines)
        return
    invoice = subscriptions.bill(world, subscription, new_lines, "subscription_update")
    invoices.finalize(world, invoice)
    invoices.collect(world, invoice, invoices.method_for(world, invoice))


def schedule_price(world: World, subscription: Obj, item: Obj, price: Obj, quantity: int) -> Obj:
    """Plans another price for the next period, as the portal does for a downgrade: a schedule of two phases."""
    start, end = item["current_period_start"], item["current_period_end"]
    schedule_id = subscription["schedule"] or world.new_id("sub_sched")
    schedule = world.new(
        "subscription_schedule",
        id=schedule_id,
        created=world.now(subscription["customer"]),
        current_phase={"end_date": end, "start_date": start},
        customer=subscription["customer"],
        phases=[
            _phase(item["price"], item.get("quantity", 1), start, end),
            _phase(price, quantity, end, end + (end - start)),
        ],
        subscription=subscription["id"],
    )
    world.emit("subscription_schedule.created", schedule)
    world.change(subscription, "customer.subscription.updated", schedule=schedule_id)
    return schedule


def _phase(price: Obj, quantity: int, start: int, end: int) -> Obj:
    empty = dict.fromkeys(
        ("application_fee_percent", "billing_thresholds", "collection_method", "default_payment_method")
    )
    item = {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": price["id"],
        "price": price["id"],
        "quantity": quantity,
        "tax_rates": [],
    }
    return {
        **empty,
        "add_invoice_items": [],
        "billing_cycle_anchor": None,
        "currency": price["currency"],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": [item],
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "none",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


def release_schedule(world: World, subscription: Obj) -> None:
    """Forgets a planned change; the subscription goes on as it is."""
    schedule = world.find("subscription_schedule", subscription["schedule"])
    if schedule is not None:
        now = world.now(subscription["customer"])
        schedule.update(
            status="released",
            released_at=now,
            released_subscription=subscription["id"],
            subscription=None,
            current_phase=None,
        )
        world.emit("subscription_schedule.released", schedule)
        world.change(subscription, "customer.subscription.updated", schedule=None)


def apply_schedule(world: World, subscription: Obj) -> None:
    """At the period's end: takes over the planned price, before the new period is billed."""
    schedule = world.find("subscription_schedule", subscription["schedule"])
    if schedule is None or schedule["status"] != "active":
        return
    wanted = schedule["phases"][-1]["items"][0]
    item = subscriptions.items_of(subscription)[0]
    price = world.get("price", wanted["price"])
    item.update(price=price, plan=plan_of(price), quantity=wanted["quantity"])
    now = world.now(subscription["customer"])
    schedule.update(
        status="completed",
        completed_at=now,
        released_subscription=subscription["id"],
        subscription=None,
        current_phase=None,
    )
    subscription["schedule"] = None
    world.emit("subscription_schedule.completed", schedule)
