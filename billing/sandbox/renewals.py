"""What time does to subscriptions: periods end, trials end, first payments expire."""

from billing.sandbox import invoices, lines, meters, plan_changes, subscriptions
from billing.sandbox.periods import HOUR_S, next_boundary
from billing.sandbox.routing import action, listens
from billing.sandbox.world import Obj, World

DRAFT_FOR_S = HOUR_S  # docs.stripe.com/billing/invoices/subscription: a renewal invoice stays a draft for about an hour


@action("subscription.period_end")
def period_end_when_due(world: World, subscription_id: str) -> None:
    """Ends the current period: cancels, or opens the next period and drafts its invoice. An entry of the agenda that
    an earlier restart has overtaken finds a later period end and does nothing."""
    subscription = world.get("subscription", subscription_id)
    now = world.now(subscription["customer"])
    if subscription["status"] not in subscriptions.LIVE or subscriptions.period_end(subscription) > now:
        return
    usage = _usage_lines(world, subscription, now)
    if subscription["cancel_at_period_end"]:
        subscriptions.cancel(world, subscription)
        if usage:  # what was used is still to be paid
            invoices.finalize(world, subscriptions.bill(world, subscription, usage, "subscription_cycle"))
        return
    _next_period(world, subscription, now)
    licensed = [lines.for_period(world, item) for item in subscriptions.items_of(subscription) if "quantity" in item]
    _draft(world, subscription, [*usage, *licensed], now)


def _usage_lines(world: World, subscription: Obj, now: int) -> list[Obj]:
    """Metered items are billed for the period that ended."""
    found = []
    for item in subscriptions.items_of(subscription):
        recurring = item["price"]["recurring"]
        if recurring["usage_type"] == "metered" and item["current_period_end"] <= now:
            used = meters.used(
                world,
                recurring["meter"],
                subscription["customer"],
                item["current_period_start"],
                item["current_period_end"],
            )
            found.append(lines.for_period(world, item, used))
    return found


def _next_period(world: World, subscription: Obj, now: int) -> None:
    """Rolls every item whose period is over, announces it once, and plans the next end."""
    before: Obj = {
        "items": {**subscription["items"], "data": [dict(item) for item in subscriptions.items_of(subscription)]}
    }
    plan_changes.apply_schedule(world, subscription)
    for item in subscriptions.items_of(subscription):
        if item["current_period_end"] <= now:
            recurring = item["price"]["recurring"]
            end = next_boundary(
                subscription["billing_cycle_anchor"],
                recurring["interval"],
                recurring["interval_count"],
                item["current_period_end"],
            )
            item.update(current_period_start=item["current_period_end"], current_period_end=end)
    if subscription["status"] == "trialing":
        before["status"] = "trialing"
        subscription["status"] = "active"
    world.emit("customer.subscription.updated", subscription, before)
    subscriptions.plan_end_of_period(world, subscription)


def _draft(world: World, subscription: Obj, new_lines: list[Obj], now: int) -> None:
    invoice = subscriptions.bill(world, subscription, new_lines, "subscription_cycle")
    collection = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (collection and collection["behavior"] == "keep_as_draft"):
        invoice["auto_advance"] = False
    elif collection:
        _set_aside(world, invoice, collection["behavior"], now)
    else:
        invoice["automatically_finalizes_at"] = now + DRAFT_FOR_S
        world.plan(now + DRAFT_FOR_S, "invoice.finalize", invoice["id"], subscription["customer"])


def _set_aside(world: World, invoice: Obj, behaviour: str, now: int) -> None:
    """Collection is paused: the invoice is voided or written off instead of collected."""
    moment = "voided_at" if behaviour == "void" else "marked_uncollectible_at"
    status = "void" if behaviour == "void" else "uncollectible"
    invoice.update(status=status, auto_advance=False, status_transitions={**invoice["status_transitions"], moment: now})
    world.emit("invoice.voided" if behaviour == "void" else "invoice.marked_uncollectible", invoice)


@action("subscription.incomplete_expired")
def expire_when_due(world: World, subscription_id: str) -> None:
    subscription = world.get("subscription", subscription_id)
    if subscription["status"] == "incomplete":
        now = world.now(subscription["customer"])
        invoice = world.find("invoice", subscription["latest_invoice"])
        if invoice is not None and invoice["status"] == "open":
            invoice.update(status="void", status_transitions={**invoice["status_transitions"], "voided_at": now})
            world.emit("invoice.voided", invoice)
        world.change(subscription, "customer.subscription.updated", status="incomplete_expired", ended_at=now)


@action("subscription.cancel_at")
def cancel_when_due(world: World, subscription_id: str) -> None:
    subscription = world.get("subscription", subscription_id)
    due = subscription["cancel_at"]
    if subscription["status"] not in subscriptions.ENDED and due and due <= world.now(subscription["customer"]):
        subscriptions.cancel(world, subscription)


@listens("subscription.catch_up")
def catch_up(world: World, subscription: Obj) -> None:
    """After a pause with unchanged anchor: periods that passed are skipped unbilled, the one that runs is billed."""
    now = world.now(subscription["customer"])
    if subscriptions.period_end(subscription) > now:
        return
    for item in subscriptions.items_of(subscription):
        recurring = item["price"]["recurring"]
        anchor, step = subscription["billing_cycle_anchor"], (recurring["interval"], recurring["interval_count"])
        while (end := next_boundary(anchor, *step, item["current_period_end"])) <= now:
            item["current_period_end"] = end
        item.update(current_period_start=item["current_period_end"], current_period_end=end)
    subscriptions.plan_end_of_period(world, subscription)
    licensed = [lines.for_period(world, item) for item in subscriptions.items_of(subscription) if "quantity" in item]
    invoice = subscriptions.bill(world, subscription, licensed, "subscription_cycle")
    invoices.finalize(world, invoice)
    invoices.collect(world, invoice, invoices.method_for(world, invoice))


@listens("customer.deleted")
def end_with_customer(world: World, customer: Obj) -> None:
    for subscription in world.all("subscription"):
        if subscription["customer"] == customer["id"] and subscription["status"] not in subscriptions.ENDED:
            subscriptions.cancel(world, subscription)
