"""Refunds. They succeed at once, or stay pending until someone settles them, as Rules.refund_status says."""

from billing.sandbox import balance
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.refusals import Refusal, parameter_invalid, parameter_missing
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World


def _charge(call: Call) -> Obj:
    """The charge to refund, named by itself or by its payment intent."""
    if "charge" in call.params:
        return call.world.get("charge", call.params.get("charge"), "charge")
    if "payment_intent" not in call.params:
        raise parameter_missing("payment_intent")
    intent = call.world.get("payment_intent", call.params.get("payment_intent"), "payment_intent")
    if intent["status"] != "succeeded":
        message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        raise Refusal(message, code="payment_intent_unexpected_state", param="payment_intent")
    return call.world.get("charge", intent["latest_charge"])


def _check(charge: Obj, amount: int) -> None:
    left = charge["amount"] - charge["amount_refunded"]
    if charge["disputed"]:
        raise Refusal(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    if not charge["paid"]:
        raise Refusal(f"Charge {charge['id']} was not paid; cannot issue a refund.", code="charge_not_refundable")
    if left == 0:
        raise Refusal(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount <= 0:
        raise parameter_invalid("amount", "Invalid positive integer", "parameter_invalid_integer")
    if amount > left:
        message = f"Refund amount (${amount / 100:.2f}) is greater than unrefunded amount on charge (${left / 100:.2f})"
        raise parameter_invalid("amount", message)


@route("POST", "/v1/refunds")
def refund_create(call: Call) -> Obj:
    world, params = call.world, call.params
    charge = _charge(call)
    amount = params.get("amount", charge["amount"] - charge["amount_refunded"])
    _check(charge, amount)
    status = world.rules.refund_status
    refund = world.new(
        "refund",
        id=world.new_id("re"),
        amount=amount,
        charge=charge["id"],
        created=world.now(charge["customer"]),
        currency=charge["currency"],
        metadata=merged(None, params),
        payment_intent=charge["payment_intent"],
        reason=params.get("reason"),
        status=status,
        **({"pending_reason": "processing"} if status == "pending" else {}),
    )
    booked = balance.record(
        world, {**refund, "customer": charge["customer"]}, -amount, kind="refund", category="refund"
    )
    refund["balance_transaction"] = booked["id"]
    refunded = charge["amount_refunded"] + amount
    charge.update(amount_refunded=refunded, refunded=refunded == charge["amount"])
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge)
    return refund


def settle(world: World, refund: Obj, status: str) -> Obj:
    """Ends a refund as succeeded, failed or canceled. A failed one gives the amount back to the charge. Banks also
    return refunds that had succeeded before (docs.stripe.com/refunds, failed refunds)."""
    charge = world.get("charge", refund["charge"])
    fields: Obj = {"status": status, "pending_reason": None}
    if status in ("failed", "canceled"):
        returned = {**refund, "customer": charge["customer"]}
        booked = balance.record(world, returned, refund["amount"], kind="refund_failure", category="refund_failure")
        fields["failure_balance_transaction"] = booked["id"]
        charge.update(amount_refunded=charge["amount_refunded"] - refund["amount"], refunded=False)
    if status == "failed":
        fields["failure_reason"] = "lost_or_stolen_card"
    world.change(refund, "refund.updated", **fields)
    world.emit("charge.refund.updated", refund)
    if status == "failed":
        world.emit("refund.failed", refund)
    return refund


@route("POST", "/v1/refunds/{refund}/cancel")
def refund_cancel(call: Call) -> Obj:
    refund = call.world.get("refund", call.id)
    if refund["status"] != "requires_action":
        raise Refusal(f"You cannot cancel a refund with status {refund['status']}.")
    return settle(call.world, refund, "canceled")


@route("GET", "/v1/refunds/{refund}")
def refund_retrieve(call: Call) -> Obj:
    return call.world.get("refund", call.id)


@route("POST", "/v1/refunds/{refund}")
def refund_update(call: Call) -> Obj:
    refund = call.world.get("refund", call.id)
    return call.world.change(refund, "refund.updated", metadata=merged(refund["metadata"], call.params))


@route("GET", "/v1/refunds")
def refund_list(call: Call) -> Obj:
    found = matching(call, call.world.all("refund"), "charge", "payment_intent", "created")
    return page(call, "/v1/refunds", found)
