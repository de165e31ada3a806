"""Payment methods, and the table of test cards that decides how each behaves.

Stripe's own test names (docs.stripe.com/testing) are understood: `pm_card_visa` and its siblings make a fresh method.
"""

from dataclasses import dataclass

from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.refusals import parameter_invalid, resource_missing
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj, World


@dataclass(frozen=True)
class Behaviour:
    """How a way of paying behaves. `decline` is (code, decline code, message)."""

    label: str
    last4: str
    type: str = "card"
    decline: tuple[str, str, str] | None = None
    authenticates: bool = False  # asks the person on session, fails off session
    delayed: bool = False  # settles days later
    settles: bool = True
    disputed: bool = False


DECLINED = ("card_declined", "generic_decline", "Your card was declined.")
NO_FUNDS = ("card_declined", "insufficient_funds", "Your card has insufficient funds.")
EXPIRED = ("expired_card", "expired_card", "Your card has expired.")

BEHAVIOURS = {
    "card": Behaviour("Card that pays", "4242"),
    "card_declined": Behaviour("Card that is declined", "0002", decline=DECLINED),
    "insufficient_funds": Behaviour("Card without enough funds", "9995", decline=NO_FUNDS),
    "expired": Behaviour("Card that has expired", "0069", decline=EXPIRED),
    "authenticate": Behaviour("Card that asks for authentication", "3155", authenticates=True),
    "disputed": Behaviour("Card that pays and disputes the payment", "0259", disputed=True),
    "bank": Behaviour("Bank debit that pays some days later", "6789", type="us_bank_account", delayed=True),
    "bank_fails": Behaviour(
        "Bank debit that fails some days later", "1116", type="us_bank_account", delayed=True, settles=False
    ),
}
TEST_NAMES = {
    "pm_card_visa": "card",
    "pm_card_visa_chargeDeclined": "card_declined",
    "pm_card_chargeCustomerFail": "card_declined",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired",
    "pm_card_authenticationRequired": "authenticate",
    "pm_card_createDispute": "disputed",
    "pm_usBankAccount_success": "bank",
}

CARD = {"brand": "visa", "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit"}
BANK = {"account_holder_type": "individual", "account_type": "checking", "bank_name": "SANDBOX BANK"}


def make(world: World, behaviour: str, customer: str | None = None) -> Obj:
    kind = BEHAVIOURS[behaviour].type
    method = world.new(
        "payment_method",
        id=world.new_id("pm"),
        created=world.now(customer),
        customer=customer,
        type=kind,
        **{kind: _details(BEHAVIOURS[behaviour])},
    )
    world.hide(method["id"])["behaviour"] = behaviour
    return method


def _details(behaviour: Behaviour) -> Obj:
    if behaviour.type == "card":
        return {"checks": None, "display_brand": "visa", **CARD, "last4": behaviour.last4}
    return {**BANK, "last4": behaviour.last4, "routing_number": "110000000"}


def behaviour_of(world: World, method: Obj) -> Behaviour:
    return BEHAVIOURS[world.hide(method["id"])["behaviour"]]


def resolve(world: World, name: str, param: str = "payment_method") -> Obj:
    """A stored method, or a fresh one from a test name."""
    if name in TEST_NAMES:
        return make(world, TEST_NAMES[name])
    return world.get("payment_method", name, param)


def attach(world: World, method: Obj, customer: str) -> Obj:
    if method["customer"] not in (None, customer):
        raise parameter_invalid(
            "payment_method", "The payment method you provided has already been attached to a customer."
        )
    if method["customer"] is None:
        method["customer"] = customer
        world.emit("payment_method.attached", method)
    return method


def default_for(world: World, customer: str) -> Obj | None:
    """The method that a customer's invoices use."""
    owner = world.get("customer", customer)
    return world.find("payment_method", (owner.get("invoice_settings") or {}).get("default_payment_method"))


@route("POST", "/v1/payment_methods/{payment_method}/attach")
def payment_method_attach(call: Call) -> Obj:
    customer = call.world.alive("customer", call.params.get("customer"), "customer")
    return attach(call.world, resolve(call.world, call.id, "id"), customer["id"])


@route("POST", "/v1/payment_methods/{payment_method}/detach")
def payment_method_detach(call: Call) -> Obj:
    method = call.world.get("payment_method", call.id)
    customer = method["customer"]
    if customer is None:
        raise parameter_invalid(
            "payment_method",
            "The payment method you provided is not attached to a customer so detachment is impossible.",
        )
    method["customer"] = None
    owner = call.world.get("customer", customer)
    if owner["invoice_settings"]["default_payment_method"] == method["id"]:
        owner["invoice_settings"]["default_payment_method"] = None
    call.world.emit("payment_method.detached", method)
    return method


@route("GET", "/v1/payment_methods/{payment_method}")
def payment_method_retrieve(call: Call) -> Obj:
    return call.world.get("payment_method", call.id)


@route("POST", "/v1/payment_methods/{payment_method}")
def payment_method_update(call: Call) -> Obj:
    method = call.world.get("payment_method", call.id)
    return call.world.change(method, "payment_method.updated", metadata=merged(method["metadata"], call.params))


@route("GET", "/v1/payment_methods")
def payment_method_list(call: Call) -> Obj:
    return page(call, "/v1/payment_methods", matching(call, call.world.all("payment_method"), "customer", "type"))


@route("GET", "/v1/customers/{customer}/payment_methods")
def customer_payment_methods(call: Call) -> Obj:
    customer = call.world.get("customer", call.id)
    if customer.get("deleted"):
        raise resource_missing("customer", call.id, "customer")
    owned = [method for method in call.world.all("payment_method") if method["customer"] == call.id]
    return page(call, f"/v1/customers/{call.id}/payment_methods", matching(call, owned, "type"))
