"""Payment intents: creating, confirming and cancelling them, and what each payment method makes of an attempt."""

from billing.sandbox import charges, payment_methods
from billing.sandbox.lists import matching, page
from billing.sandbox.metadata import merged
from billing.sandbox.params import Params
from billing.sandbox.payment_methods import Behaviour
from billing.sandbox.refusals import Refusal, card_error, parameter_invalid, parameter_missing
from billing.sandbox.routing import Call, action, route, signal
from billing.sandbox.world import Obj, World

AMOUNT_CENTS_MIN = 50  # docs.stripe.com/currencies: minimum charge in US dollars
AMOUNT_CENTS_MAX = 99_999_999
AUTHENTICATION = (
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
BANK_FAILURE = ("charge_exceeds_source_limit", "debit_not_authorized", "The customer's bank did not allow the debit.")
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def make(
    world: World,
    *,
    amount: int,
    currency: str,
    customer: str | None,
    metadata: dict[str, str] | None = None,
    description: str | None = None,
) -> Obj:
    """A payment intent that waits for a payment method."""
    intent_id = world.new_id("pi")
    intent = world.new(
        "payment_intent",
        id=intent_id,
        amount=amount,
        client_secret=f"{intent_id}_secret_{world.new_id('secret')[7:23]}",
        created=world.now(customer),
        currency=currency.lower(),
        customer=customer,
        description=description,
        metadata=metadata or {},
    )
    world.emit("payment_intent.created", intent)
    return intent


def attempt(world: World, intent: Obj, method: Obj, *, off_session: bool, authenticated: bool = False) -> str:
    """Tries to take the money with a method; returns the intent's status afterwards."""
    behaviour = payment_methods.behaviour_of(world, method)
    if behaviour.decline:
        return _decline(world, intent, method, behaviour, behaviour.decline)
    if behaviour.authenticates and off_session:
        return _decline(world, intent, method, behaviour, AUTHENTICATION)
    if behaviour.authenticates and not authenticated:
        return _ask(world, intent, method)
    if behaviour.delayed:
        return _process(world, intent, method, behaviour)
    charge = charges.make(world, intent, method, behaviour, "succeeded")
    return _succeed(world, intent, method, charge)


def _succeed(world: World, intent: Obj, method: Obj, charge: Obj) -> str:
    intent.update(
        status="succeeded",
        amount_received=intent["amount"],
        latest_charge=charge["id"],
        payment_method=method["id"],
        last_payment_error=None,
        next_action=None,
        processing=None,
    )
    if intent["customer"] and intent["setup_future_usage"]:
        payment_methods.attach(world, method, intent["customer"])
    world.emit("payment_intent.succeeded", intent)
    if payment_methods.behaviour_of(world, method).disputed:
        world.plan(world.now(intent["customer"]), "dispute.open", charge["id"], intent["customer"])
    signal(world, "payment_intent.succeeded", intent)
    return "succeeded"


def _error(method: Obj, charge: Obj | None, decline: tuple[str, str, str]) -> Obj:
    code, decline_code, message = decline
    error = {
        "code": code,
        "decline_code": decline_code,
        "doc_url": f"https://docs.stripe.com/error-codes/{code.replace('_', '-')}",
    }
    return {
        **error,
        "message": message,
        "payment_method": method,
        "type": "card_error",
        **({"charge": charge["id"]} if charge else {}),
    }


def _decline(world: World, intent: Obj, method: Obj, behaviour: Behaviour, decline: tuple[str, str, str]) -> str:
    charge = charges.make(world, intent, method, behaviour, "failed", decline)
    return _fail(world, intent, method, charge, decline)


def _fail(world: World, intent: Obj, method: Obj, charge: Obj, decline: tuple[str, str, str]) -> str:
    intent.update(
        status="requires_payment_method",
        latest_charge=charge["id"],
        payment_method=None,
        last_payment_error=_error(method, charge, decline),
        next_action=None,
        processing=None,
    )
    world.emit("payment_intent.payment_failed", intent)
    signal(world, "payment_intent.payment_failed", intent)
    return "requires_payment_method"


def _ask(world: World, intent: Obj, method: Obj) -> str:
    intent.update(
        status="requires_action",
        payment_method=method["id"],
        next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {}},
    )
    world.emit("payment_intent.requires_action", intent)
    return "requires_action"


def _process(world: World, intent: Obj, method: Obj, behaviour: Behaviour) -> str:
    charge = charges.make(world, intent, method, behaviour, "pending")
    intent.update(status="processing", latest_charge=charge["id"], payment_method=method["id"], last_payment_error=None)
    world.emit("payment_intent.processing", intent)
    world.plan(
        world.now(intent["customer"]) + world.rules.settle_after_s, "payment.settle", intent["id"], intent["customer"]
    )
    return "processing"


@action("payment.settle")
def settle_when_due(world: World, intent_id: str) -> None:
    intent = world.get("payment_intent", intent_id)
    if intent["status"] == "processing":
        method = world.get("payment_method", intent["payment_method"])
        settle(
            world, intent, succeeded=payment_methods.behaviour_of(world, method).settles and world.rules.settle_succeeds
        )


def settle(world: World, intent: Obj, *, succeeded: bool) -> Obj:
    """Ends a delayed payment one way or the other."""
    if intent["status"] != "processing":
        raise Refusal(
            f"This PaymentIntent is not processing: its status is {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    method, charge = world.get("payment_method", intent["payment_method"]), world.get("charge", intent["latest_charge"])
    if succeeded:
        charges.settle(world, charge)
        world.emit("charge.succeeded", charge)
        _succeed(world, intent, method, charge)
    else:
        charges.fail(charge, BANK_FAILURE)
        world.emit("charge.failed", charge)
        _fail(world, intent, method, charge, BANK_FAILURE)
    return intent


def cancel(world: World, intent: Obj, reason: str | None) -> Obj:
    if intent["status"] in ("succeeded", "canceled", "processing"):
        message = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
        raise Refusal(message, code="payment_intent_unexpected_state", payment_intent=intent)
    intent.update(status="canceled", canceled_at=world.now(intent["customer"]), cancellation_reason=reason)
    world.emit("payment_intent.canceled", intent)
    return intent


def check_amount(amount: int, param: str = "amount") -> None:
    if amount < AMOUNT_CENTS_MIN:
        raise parameter_invalid(param, f"Amount must convert to at least {AMOUNT_CENTS_MIN} cents.", "amount_too_small")
    if amount > AMOUNT_CENTS_MAX:
        raise parameter_invalid(param, "Amount must be no more than $999,999.99", "amount_too_large")


@route("POST", "/v1/payment_intents")
def payment_intent_create(call: Call) -> Obj:
    world, params = call.world, call.params
    check_amount(params.get("amount"))
    customer = params.get("customer")
    if customer is not None:
        world.alive("customer", customer, "customer")
    confirm, off_session = params.get("confirm", False), params.get("off_session", False)
    if off_session and not confirm:
        raise parameter_invalid("off_session", "The parameter `off_session` can only be passed when `confirm` is true.")
    method = _method(call, customer) if "payment_method" in params else None
    intent = make(
        world,
        amount=params.get("amount"),
        currency=params.get("currency"),
        customer=customer,
        metadata=merged(None, params),
        description=params.get("description"),
    )
    intent["receipt_email"] = params.get("receipt_email")
    intent["setup_future_usage"] = params.get("setup_future_usage")
    intent["automatic_payment_methods"] = params.plain("automatic_payment_methods", intent["automatic_payment_methods"])
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    return _confirm(call, intent, off_session=bool(off_session)) if confirm else intent


def _method(call: Call, customer: str | None) -> Obj:
    method = payment_methods.resolve(call.world, call.params.get("payment_method"))
    if method["customer"] is not None and method["customer"] != customer:
        message = (
            "The provided PaymentMethod belongs to a Customer. Please include the same Customer on the PaymentIntent."
        )
        raise parameter_invalid("payment_method", message)
    return method


def _confirm(call: Call, intent: Obj, *, off_session: bool) -> Obj:
    """Confirms by API: a decline is answered with 402 and leaves the intent behind."""
    if intent["payment_method"] is None:
        raise parameter_missing("payment_method")
    method = call.world.get("payment_method", intent["payment_method"])
    insist = call.params.get("error_on_requires_action", False)
    status = attempt(call.world, intent, method, off_session=off_session or insist)
    if status == "requires_payment_method":
        raise card_error(intent["last_payment_error"], intent)
    return intent


@route("POST", "/v1/payment_intents/{intent}/confirm")
def payment_intent_confirm(call: Call) -> Obj:
    intent = call.world.get("payment_intent", call.id)
    if intent["status"] not in CONFIRMABLE:
        message = f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}."
        raise Refusal(message, code="payment_intent_unexpected_state", payment_intent=intent)
    if "payment_method" in call.params:
        intent["payment_method"] = _method(call, intent["customer"])["id"]
    return _confirm(call, intent, off_session=bool(call.params.get("off_session", False)))


@route("POST", "/v1/payment_intents/{intent}/cancel")
def payment_intent_cancel(call: Call) -> Obj:
    return cancel(call.world, call.world.get("payment_intent", call.id), call.params.get("cancellation_reason"))


@route("GET", "/v1/payment_intents/{intent}")
def payment_intent_retrieve(call: Call) -> Obj:
    return call.world.get("payment_intent", call.id)


@route("POST", "/v1/payment_intents/{intent}")
def payment_intent_update(call: Call) -> Obj:
    intent = call.world.get("payment_intent", call.id)
    if "description" in call.params:
        intent["description"] = call.params.get("description")
    intent["metadata"] = merged(intent["metadata"], call.params)
    return intent


@route("GET", "/v1/payment_intents")
def payment_intent_list(call: Call) -> Obj:
    return page(call, "/v1/payment_intents", matching(call, call.world.all("payment_intent"), "customer", "created"))


def apply_data(intent: Obj, data: Params) -> None:
    """What a Checkout Session's `payment_intent_data` sets on its intent. Its metadata is the session's no more."""
    intent["metadata"] = merged(None, data)
    intent["description"] = data.get("description")
    intent["receipt_email"] = data.get("receipt_email")
    intent["setup_future_usage"] = data.get("setup_future_usage")
