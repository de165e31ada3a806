"""Charges: one attempt to move money each, made by a payment intent."""

from billing.sandbox import balance
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.payment_methods import BANK, CARD, Behaviour
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World

OUTCOMES = {
    "succeeded": ("approved_by_network", "Payment complete.", "authorized"),
    "pending": ("not_sent_to_network", "Payment is being processed.", "authorized"),
    "failed": ("declined_by_network", "The bank declined the payment.", "issuer_declined"),
}


def _outcome(status: str, decline_code: str | None) -> Obj:
    network_status, message, kind = OUTCOMES[status]
    return {
        "network_status": network_status,
        "reason": decline_code,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": message,
        "type": kind,
    }


def make(
    world: World,
    intent: Obj,
    method: Obj,
    behaviour: Behaviour,
    status: str,
    decline: tuple[str, str, str] | None = None,
) -> Obj:
    """A charge of the intent's amount; a successful one enters the balance at once."""
    code, decline_code, message = decline or (None, None, None)
    charge = world.new(
        "charge",
        id=world.new_id("ch"),
        amount=intent["amount"],
        billing_details=method["billing_details"],
        created=world.now(intent["customer"]),
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        failure_code=code,
        failure_message=message,
        metadata=dict(intent["metadata"]),
        outcome=_outcome(status, decline_code),
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_details(behaviour),
        receipt_email=intent["receipt_email"],
        status=status,
    )
    if status == "succeeded":
        settle(world, charge)
    world.emit(f"charge.{status}", charge)
    return charge


def _details(behaviour: Behaviour) -> Obj:
    shared = CARD if behaviour.type == "card" else BANK
    return {"type": behaviour.type, behaviour.type: {**shared, "last4": behaviour.last4}}


def settle(world: World, charge: Obj) -> None:
    """Marks a charge paid and books it."""
    charge.update(
        status="succeeded",
        paid=True,
        captured=True,
        amount_captured=charge["amount"],
        outcome=_outcome("succeeded", None),
    )
    fee = balance.fee_cents(charge["amount"], charge["payment_method_details"]["type"])
    booked = balance.record(
        world, charge, charge["amount"], fee=fee, kind="charge", category="charge", description=charge["description"]
    )
    charge["balance_transaction"] = booked["id"]
    charge["receipt_url"] = f"{world.base_url}/receipts/{charge['id']}"


def fail(charge: Obj, decline: tuple[str, str, str]) -> None:
    code, decline_code, message = decline
    charge.update(status="failed", failure_code=code, failure_message=message, outcome=_outcome("failed", decline_code))


@route("GET", "/v1/charges/{charge}")
def charge_retrieve(call: Call) -> Obj:
    return call.world.get("charge", call.id)


@route("POST", "/v1/charges/{charge}")
def charge_update(call: Call) -> Obj:
    charge = call.world.get("charge", call.id)
    fields = {name: call.params.get(name) for name in ("description", "receipt_email") if name in call.params}
    return call.world.change(charge, "charge.updated", **fields, metadata=merged(charge["metadata"], call.params))


@route("GET", "/v1/charges")
def charge_list(call: Call) -> Obj:
    return page(call, "/v1/charges", matching(call, call.world.all("charge"), "customer", "payment_intent", "created"))
