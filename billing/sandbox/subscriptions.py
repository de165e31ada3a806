"""Subscriptions: starting, changing, pausing and ending them. Time's part (renewals, retries) is in renewals.py.

Billing mode is flexible, the default since API version clover: the period stands on the items, not on the subscription.
"""

from billing.sandbox import invoices, lines, payment_methods
from billing.sandbox.catalogue import plan_of
from billing.sandbox.lists import whole
from billing.sandbox.periods import HOUR_S, add_intervals
from billing.sandbox.refusals import Refusal, card_error, parameter_invalid
from billing.sandbox.routing import listens, signal
from billing.sandbox.world import Obj, World

INCOMPLETE_FOR_S = 23 * HOUR_S  # docs.stripe.com/billing/subscriptions/overview: the first payment has 23 hours
ENDED = ("canceled", "incomplete_expired")
LIVE = ("active", "trialing", "past_due", "unpaid")


def make(
    world: World,
    customer: str,
    prices: list[tuple[Obj, int]],
    *,
    metadata: dict[str, str],
    trial_end: int | None = None,
    anchor: int | None = None,
) -> Obj:
    """An incomplete (or trialing) subscription with its first period, until `anchor` where one is given; nothing is
    charged yet."""
    now, subscription_id = world.now(customer), world.new_id("sub")
    items = [_item(world, subscription_id, price, quantity, now, trial_end or anchor) for price, quantity in prices]
    subscription = world.new(
        "subscription",
        id=subscription_id,
        billing_cycle_anchor=trial_end or anchor or now,
        created=now,
        currency=prices[0][0]["currency"],
        customer=customer,
        items=whole(f"/v1/subscription_items?subscription={subscription_id}", items),
        metadata=metadata,
        start_date=now,
        status="trialing" if trial_end else "incomplete",
        test_clock=world.clock_of(customer),
        trial_end=trial_end,
        trial_start=now if trial_end else None,
    )
    world.emit("customer.subscription.created", subscription)
    plan_end_of_period(world, subscription)
    return subscription


def _item(world: World, subscription_id: str, price: Obj, quantity: int, now: int, first_end: int | None) -> Obj:
    if price["recurring"] is None:
        raise parameter_invalid(
            "items",
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.",
        )
    recurring = price["recurring"]
    end = first_end or add_intervals(now, recurring["interval"], recurring["interval_count"])
    licensed = {"quantity": quantity} if recurring["usage_type"] == "licensed" else {}
    return world.new(
        "subscription_item",
        id=world.new_id("si"),
        created=now,
        current_period_end=end,
        current_period_start=now,
        plan=plan_of(price),
        price=price,
        subscription=subscription_id,
        **licensed,
    )


def items_of(subscription: Obj) -> list[Obj]:
    return list(subscription["items"]["data"])


def period_end(subscription: Obj) -> int:
    return min(int(item["current_period_end"]) for item in items_of(subscription))


def plan_end_of_period(world: World, subscription: Obj) -> None:
    world.plan(period_end(subscription), "subscription.period_end", subscription["id"], subscription["customer"])


def bill(world: World, subscription: Obj, new_lines: list[Obj], reason: str, *, discount: int = 0, tax: int = 0) -> Obj:
    """A draft invoice for a subscription, with the prorations that were waiting for it."""
    waiting = world.hide(subscription["id"]).pop("pending_lines", [])
    invoice = invoices.draft(
        world,
        customer=subscription["customer"],
        lines=[*waiting, *new_lines],
        reason=reason,
        subscription=subscription,
        discount=discount,
        tax=tax,
    )
    subscription["latest_invoice"] = invoice["id"]
    return invoice


def start(
    world: World,
    subscription: Obj,
    method: Obj | None,
    *,
    off_session: bool,
    authenticated: bool = False,
    discount: int = 0,
    tax: int = 0,
) -> Obj:
    """Bills the first period (a trial costs nothing) and tries to collect it; returns the invoice."""
    licensed = [item for item in items_of(subscription) if "quantity" in item]
    trial = subscription["status"] == "trialing"
    first = [lines.for_period(world, item) for item in licensed]
    for line in first if trial else []:
        line.update(amount=0, subtotal=0)
    invoice = bill(
        world, subscription, first, "subscription_create", discount=0 if trial else discount, tax=0 if trial else tax
    )
    invoices.finalize(world, invoice)
    invoices.collect(world, invoice, method, off_session=off_session, authenticated=authenticated)
    if subscription["status"] == "incomplete":
        due = world.now(subscription["customer"]) + INCOMPLETE_FOR_S
        world.plan(due, "subscription.incomplete_expired", subscription["id"], subscription["customer"])
    return invoice


@listens("invoice.paid")
def _invoice_paid(world: World, invoice: Obj) -> None:
    subscription = world.find("subscription", invoices.subscription_id(invoice))
    if subscription is None or invoice["id"] != subscription["latest_invoice"]:
        return
    if subscription["status"] in ("incomplete", "past_due", "unpaid"):
        world.change(subscription, "customer.subscription.updated", status="active")


@listens("invoice.payment_failed")
def _invoice_failed(world: World, invoice: Obj) -> None:
    subscription = world.find("subscription", invoices.subscription_id(invoice))
    if subscription is None:
        return
    if subscription["status"] in ("active", "trialing"):
        world.change(subscription, "customer.subscription.updated", status="past_due")
    if invoice["next_payment_attempt"] is None and subscription["status"] == "past_due":
        give_up(world, subscription, invoice)


def give_up(world: World, subscription: Obj, invoice: Obj) -> None:
    """After the last retry: what the rules say (docs.stripe.com/billing/revenue-recovery/smart-retries)."""
    choice = world.rules.after_last_retry
    if choice == "cancel":
        cancel(world, subscription, reason="payment_failed")
    elif choice == "pause":
        pause(world, subscription, "final_payment_failure")
    elif choice == "unpaid":
        invoice["auto_advance"] = False
        world.change(subscription, "customer.subscription.updated", status="unpaid")


def open_while_processing(world: World, invoice: Obj) -> None:
    """A bank debit for the first period is under way: Stripe opens the subscription while it settles."""
    subscription = world.find("subscription", invoices.subscription_id(invoice))
    if subscription is not None and subscription["status"] == "incomplete":
        world.change(subscription, "customer.subscription.updated", status="active")


def cancel(
    world: World, subscription: Obj, *, reason: str = "cancellation_requested", details: Obj | None = None
) -> Obj:
    """Ends a subscription now. Its open invoices stay open but are not collected any more."""
    if subscription["status"] in ENDED:
        raise Refusal("This subscription is already canceled.", code="resource_missing", status=404)
    now = world.now(subscription["customer"])
    for invoice in world.all("invoice"):
        if invoices.subscription_id(invoice) == subscription["id"] and invoice["status"] in ("draft", "open"):
            invoice.update(auto_advance=False, next_payment_attempt=None)
    subscription.update(
        status="canceled",
        canceled_at=subscription["canceled_at"] or now,
        cancellation_details={**subscription["cancellation_details"], "reason": reason, **(details or {})},
        ended_at=now,
        schedule=None,
    )
    world.emit("customer.subscription.deleted", subscription)
    return subscription


def cancel_at_period_end(world: World, subscription: Obj, wanted: bool, details: Obj | None = None) -> Obj:
    """Asks for the end at the end of the period, or takes that back."""
    now = world.now(subscription["customer"])
    previous = subscription["cancellation_details"]
    return world.change(
        subscription,
        "customer.subscription.updated",
        cancel_at=period_end(subscription) if wanted else None,
        cancel_at_period_end=wanted,
        canceled_at=now if wanted else None,
        cancellation_details={**previous, "reason": "cancellation_requested" if wanted else None, **(details or {})},
    )


def pause(world: World, subscription: Obj, why: str = "pause_requested") -> Obj:
    """Pauses: no service, no invoices (API version endive)."""
    if subscription["status"] not in LIVE:
        raise Refusal(f"You cannot pause a subscription whose status is {subscription['status']}.")
    paused = {
        "subscription": {"type": why},
        "transitioned_at": world.now(subscription["customer"]),
        "type": "subscription",
    }
    subscription.update(status="paused", status_details={"paused": paused})
    world.emit("customer.subscription.paused", subscription)
    return subscription


def resume(world: World, subscription: Obj, anchor: str) -> Obj:
    """Ends a pause; with anchor "now" a new period starts and is billed, else the old boundaries go on."""
    if subscription["status"] != "paused":
        raise Refusal(f"You cannot resume a subscription whose status is {subscription['status']}.")
    subscription["status_details"] = None
    subscription["status"] = "active"
    world.emit("customer.subscription.resumed", subscription)
    if anchor == "now":
        restart_period(world, subscription)
        invoice = bill(
            world,
            subscription,
            [lines.for_period(world, item) for item in items_of(subscription) if "quantity" in item],
            "subscription_update",
        )
        invoices.finalize(world, invoice)
        invoices.collect(world, invoice, invoices.method_for(world, invoice))
    else:
        signal(world, "subscription.catch_up", subscription)
    return subscription


def restart_period(world: World, subscription: Obj) -> None:
    """Begins a new period now; the cycle is anchored here from now on."""
    now = world.now(subscription["customer"])
    for item in items_of(subscription):
        recurring = item["price"]["recurring"]
        item.update(
            current_period_start=now,
            current_period_end=add_intervals(now, recurring["interval"], recurring["interval_count"]),
        )
    subscription["billing_cycle_anchor"] = now
    plan_end_of_period(world, subscription)


def check_can_pay(world: World, method: Obj | None) -> None:
    """For `error_if_incomplete`: refuses before anything changes when the payment would be declined."""
    behaviour = payment_methods.behaviour_of(world, method) if method else None
    if behaviour is None:
        raise Refusal(
            "This customer has no attached payment source or default payment method.", code="resource_missing"
        )
    if behaviour.decline:
        code, decline_code, message = behaviour.decline
        raise card_error({"code": code, "decline_code": decline_code, "message": message, "type": "card_error"}, {})
