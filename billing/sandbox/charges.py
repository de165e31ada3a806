"""Charges: one attempt to move money each, made by a payment intent."""

from billing.sandbox import balance
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.payment_methods import Behaviour
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
    charge_id = world.new_id("ch")
    charge: Obj = {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": False,
        "created": world.now(intent["customer"]),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": code,
        "failure_message": message,
        "fraud_details": {},
        "livemode": world.rules.livemode,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": _outcome(status, decline_code),
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details(behaviour),
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
    }
    world.add(charge)
    if status == "succeeded":
        settle(world, charge)
    world.emit(f"charge.{status}", charge)
    return charge


def _details(behaviour: Behaviour) -> Obj:
    if behaviour.type == "card":
        return {
            "type": "card",
            "card": {
                "brand": "visa",
                "country": "US",
                "exp_month": 12,
                "exp_year": 2034,
                "funding": "credit",
                "last4": behaviour.last4,
            },
        }
    return {
        "type": "us_bank_account",
        "us_bank_account": {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "SANDBOX BANK",
            "last4": behaviour.last4,
        },
    }


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
