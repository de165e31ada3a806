"""Coupons that apply once, and the promotion codes that people type for them."""

from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.refusals import parameter_invalid
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World


@route("POST", "/v1/coupons")
def coupon_create(call: Call) -> Obj:
    world, params = call.world, call.params
    if params.get("duration", "once") != "once":
        raise parameter_invalid("duration", "The sandbox models coupons of duration `once` only.")
    percent, amount = params.get("percent_off"), params.get("amount_off")
    if (percent is None) == (amount is None):
        raise parameter_invalid("percent_off", "You must pass either percent_off or amount_off.")
    coupon = world.new(
        "coupon",
        id=params.get("id") or world.new_id("coupon")[-8:],
        amount_off=amount,
        created=world.now(),
        currency=params.get("currency"),
        metadata=merged(None, params),
        name=params.get("name"),
        percent_off=float(percent) if percent is not None else None,
    )
    world.emit("coupon.created", coupon)
    return coupon


@route("GET", "/v1/coupons/{coupon}")
def coupon_retrieve(call: Call) -> Obj:
    return call.world.get("coupon", call.id)


@route("POST", "/v1/promotion_codes")
def promotion_code_create(call: Call) -> Obj:
    world, params = call.world, call.params
    promotion = params.group("promotion")
    promotion.get("type")
    coupon = world.get("coupon", promotion.get("coupon"), "promotion[coupon]")
    code = world.new(
        "promotion_code",
        id=world.new_id("promo"),
        code=params.get("code") or world.new_id("code")[-8:].upper(),
        created=world.now(),
        metadata=merged(None, params),
        promotion={"coupon": coupon["id"], "type": "coupon"},
    )
    world.emit("promotion_code.created", code)
    return code


@route("GET", "/v1/promotion_codes")
def promotion_code_list(call: Call) -> Obj:
    found = matching(call, call.world.all("promotion_code"), "code", "active", "created")
    return page(call, "/v1/promotion_codes", found)


def find_code(world: World, text: str) -> Obj | None:
    wanted = text.strip().upper()
    return next(
        (code for code in world.all("promotion_code") if code["active"] and code["code"].upper() == wanted), None
    )


def discount_cents(world: World, code: Obj, amount: int) -> int:
    """What a code takes off an amount, never more than all of it."""
    coupon = world.get("coupon", code["promotion"]["coupon"])
    if coupon["amount_off"] is not None:
        return min(amount, int(coupon["amount_off"]))
    hundredths = round(coupon["percent_off"] * 100)
    return int(min(amount, (amount * hundredths + 5_000) // 10_000))


def redeem(world: World, code: Obj) -> None:
    code["times_redeemed"] += 1
    world.get("coupon", code["promotion"]["coupon"])["times_redeemed"] += 1
