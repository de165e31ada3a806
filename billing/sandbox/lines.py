"""Invoice lines: what a price costs for a quantity and a period, whole or in part. Integer cents throughout."""

from billing.sandbox.periods import human_date
from billing.sandbox.world import Obj, World

DECIMALS = 12  # docs.stripe.com/api/prices: unit_amount_decimal has at most 12 decimal places
SCALE = 10**DECIMALS


def amount_cents(price: Obj, quantity: int) -> int:
    """Quantity times unit price, rounded half up to a cent."""
    whole, _, fraction = str(price["unit_amount_decimal"]).partition(".")
    unit = int(whole) * SCALE + int(fraction.ljust(DECIMALS, "0") or 0)
    return int((unit * quantity + SCALE // 2) // SCALE)


def part_cents(amount: int, seconds: int, of_seconds: int) -> int:
    """The share of an amount for part of a period, rounded half up."""
    return (amount * seconds + of_seconds // 2) // of_seconds


def make(
    world: World,
    price: Obj,
    *,
    quantity: int,
    amount: int,
    start: int,
    end: int,
    description: str,
    item: Obj | None = None,
    proration: bool = False,
) -> Obj:
    """A line. With an item it belongs to that subscription item, else to an invoice item of its own."""
    return world.new(
        "line_item",
        id=world.new_id("il"),
        amount=amount,
        currency=price["currency"],
        description=description,
        parent=_parent(world, item, proration),
        period={"end": end, "start": start},
        pricing={
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        quantity=quantity,
        subtotal=amount,
    )


def _parent(world: World, item: Obj | None, proration: bool) -> Obj:
    if item is None:
        details = {"invoice_item": world.new_id("ii"), "proration": False, "proration_details": None}
        return {"invoice_item_details": details, "subscription_item_details": None, "type": "invoice_item_details"}
    details = {
        "invoice_item": world.new_id("ii") if proration else None,
        "proration": proration,
        "proration_details": {"credited_items": None},
        "subscription": item["subscription"],
        "subscription_item": item["id"],
    }
    return {"invoice_item_details": None, "subscription_item_details": details, "type": "subscription_item_details"}


def for_period(world: World, item: Obj, quantity: int | None = None) -> Obj:
    """The line of one item for its current period; `quantity` is given for metered items."""
    price, count = item["price"], item.get("quantity", 0) if quantity is None else quantity
    name = world.get("product", price["product"])["name"]
    unit = f"${amount_cents(price, 1) / 100:.2f} / {price['recurring']['interval']}"
    return make(
        world,
        price,
        quantity=count,
        amount=amount_cents(price, count),
        start=item["current_period_start"],
        end=item["current_period_end"],
        description=f"{count} × {name} (at {unit})",
        item=item,
    )


def proration(world: World, item: Obj, price: Obj, quantity: int, now: int, *, credit: bool) -> Obj:
    """What the rest of the current period of an item is worth: given back for the old price, or charged for the new."""
    start, end = item["current_period_start"], item["current_period_end"]
    amount = part_cents(amount_cents(price, quantity), end - now, end - start)
    name = world.get("product", price["product"])["name"]
    text = "Unused time on" if credit else "Remaining time on"
    return make(
        world,
        price,
        quantity=quantity,
        amount=-amount if credit else amount,
        start=now,
        end=end,
        description=f"{text} {name} after {human_date(now)}",
        item=item,
        proration=True,
    )
