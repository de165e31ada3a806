"""Paying a Checkout Session: what the person on the pay page sets in motion, per mode and per way of paying."""

from billing.sandbox import checkout, invoices, lines, payment_methods, payments, promotions, subscriptions
from billing.sandbox.params import Params
from billing.sandbox.payment_methods import BEHAVIOURS
from billing.sandbox.periods import DAY_S
from billing.sandbox.refusals import parameter_invalid
from billing.sandbox.routing import listens
from billing.sandbox.world import Obj, World


def pay(world: World, session: Obj, behaviour: str = "card", *, code: str = "", authenticated: bool = False) -> str:
    """Submits the pay page. Returns "complete", "declined" or "requires_action"; only the first ends the session."""
    checkout.require_open(world, session)
    if behaviour not in BEHAVIOURS:
        raise parameter_invalid(
            "method", f"There is no way of paying called {behaviour!r}: choose one of {', '.join(BEHAVIOURS)}."
        )
    if code:
        _apply_code(world, session, code)
    if session["mode"] == "payment":
        return _pay_once(world, session, behaviour, authenticated)
    if session["mode"] == "subscription":
        return _subscribe(world, session, behaviour, authenticated)
    return _save_method(world, session, behaviour)


def last_error(world: World, session: Obj) -> str:
    """Why the last attempt failed, in words for the pay page."""
    intent = world.find("payment_intent", world.hide(session["id"]).get("payment_intent"))
    error = intent["last_payment_error"] if intent else None
    return str(error["message"]) if error else ""


def _apply_code(world: World, session: Obj, text: str) -> None:
    code = promotions.find_code(world, text) if session["allow_promotion_codes"] else None
    if code is None:
        raise parameter_invalid("code", "This promotion code is invalid.", "promotion_code_invalid")
    discount = promotions.discount_cents(world, code, session["amount_subtotal"])
    session.update(checkout.totals(world, session, discount))
    session["discounts"] = [{"coupon": None, "promotion_code": code["id"]}]
    world.hide(session["id"])["code"] = code["id"]


def _ensure_customer(world: World, session: Obj, *, needed: bool) -> str | None:
    """The session's customer; one is made for a guest where the mode needs it."""
    if session["customer"] is None and (needed or session["customer_creation"] == "always"):
        email = session["customer_email"] or "guest@example.com"
        fields: Obj = {"email": email, "invoice_prefix": world.new_id("prefix")[-8:].upper(), "metadata": {}}
        customer = world.new("customer", id=world.new_id("cus"), created=world.now(), **fields)
        world.emit("customer.created", customer)
        session["customer"] = customer["id"]
    owner: str | None = session["customer"]
    return owner


def _intent(world: World, session: Obj, customer: str | None) -> Obj:
    """The session's payment intent, kept from one attempt to the next."""
    facts = world.hide(session["id"])
    kept = world.find("payment_intent", facts.get("payment_intent"))
    if kept is not None and kept["amount"] == session["amount_total"]:
        return kept
    intent = payments.make(world, amount=session["amount_total"], currency=session["currency"], customer=customer)
    payments.apply_data(intent, Params(facts["data"].get("payment_intent_data", {})))
    facts["payment_intent"] = intent["id"]
    return intent


def _pay_once(world: World, session: Obj, behaviour: str, authenticated: bool) -> str:
    customer = _ensure_customer(world, session, needed=False)
    if session["amount_total"] == 0:
        return _complete(world, session, payment_status="no_payment_required")
    intent = _intent(world, session, customer)
    status = payments.attempt(
        world, intent, payment_methods.make(world, behaviour), off_session=False, authenticated=authenticated
    )
    if status == "succeeded":
        _receipt(world, session, intent)
        return _complete(world, session, payment_status="paid", payment_intent=intent["id"])
    if status == "processing":
        world.hide(intent["id"])["session"] = session["id"]
        return _complete(world, session, payment_status="unpaid", payment_intent=intent["id"])
    return "requires_action" if status == "requires_action" else "declined"


def _receipt(world: World, session: Obj, intent: Obj) -> None:
    """The paid invoice that `invoice_creation` asks for."""
    creation = session["invoice_creation"]
    if not (creation and creation["enabled"] and session["customer"]):
        return
    now = world.now(session["customer"])
    bought = [
        lines.make(
            world,
            line["price"],
            quantity=line["quantity"],
            amount=line["amount_subtotal"],
            start=now,
            end=now,
            description=line["description"],
        )
        for line in world.hide(session["id"])["line_items"]
    ]
    given = world.hide(session["id"])["data"]["invoice_creation"].get("invoice_data", {})
    details = session["total_details"]
    invoice = invoices.draft(
        world,
        customer=session["customer"],
        lines=bought,
        reason="manual",
        discount=details["amount_discount"],
        tax=details["amount_tax"],
        metadata=given.get("metadata"),
    )
    invoice["description"] = given.get("description")
    invoices.finalize(world, invoice, intent)
    invoices.mark_paid(world, invoice)
    session["invoice"] = invoice["id"]


def _refused_upfront(world: World, session: Obj, behaviour: str, authenticated: bool) -> str | None:
    """A first subscription payment that fails leaves a failed payment behind, but no subscription."""
    found = BEHAVIOURS[behaviour]
    if not found.decline and (not found.authenticates or authenticated):
        return None
    intent = _intent(world, session, session["customer"])
    status = payments.attempt(world, intent, payment_methods.make(world, behaviour), off_session=False)
    return "requires_action" if status == "requires_action" else "declined"


def _subscribe(world: World, session: Obj, behaviour: str, authenticated: bool) -> str:
    customer = _ensure_customer(world, session, needed=True) or ""
    data = world.hide(session["id"])["data"].get("subscription_data", {})
    trial = data.get("trial_end") or (
        world.now(customer) + data["trial_period_days"] * DAY_S if "trial_period_days" in data else None
    )
    if (
        session["amount_total"]
        and not trial
        and (refused := _refused_upfront(world, session, behaviour, authenticated))
    ):
        return refused
    method = payment_methods.attach(world, payment_methods.make(world, behaviour), customer)
    sold = [
        (line["price"], line["quantity"])
        for line in world.hide(session["id"])["line_items"]
        if line["price"]["recurring"]
    ]
    subscription = subscriptions.make(world, customer, sold, metadata=dict(data.get("metadata", {})), trial_end=trial)
    subscription.update(default_payment_method=method["id"], description=data.get("description"))
    details = session["total_details"]
    invoice = subscriptions.start(
        world,
        subscription,
        method,
        off_session=False,
        authenticated=authenticated,
        discount=details["amount_discount"],
        tax=details["amount_tax"],
    )
    return _complete(
        world,
        session,
        payment_status=_first_payment(world, session, invoice),
        subscription=subscription["id"],
        invoice=invoice["id"],
    )


def _first_payment(world: World, session: Obj, invoice: Obj) -> str:
    if invoice["amount_due"] == 0:
        return "no_payment_required"
    if invoice["status"] == "paid":
        return "paid"
    world.hide(invoices.intent_of(world, invoice)["id"])["session"] = session["id"]
    subscriptions.open_while_processing(world, invoice)
    return "unpaid"


def _save_method(world: World, session: Obj, behaviour: str) -> str:
    if BEHAVIOURS[behaviour].decline:
        return "declined"
    customer = _ensure_customer(world, session, needed=False)
    method = payment_methods.make(world, behaviour)
    if customer:
        payment_methods.attach(world, method, customer)
    data = world.hide(session["id"])["data"].get("setup_intent_data", {})
    intent_id = world.new_id("seti")
    intent = world.new(
        "setup_intent",
        id=intent_id,
        client_secret=f"{intent_id}_secret",
        created=world.now(customer),
        customer=customer,
        metadata=dict(data.get("metadata", {})),
        payment_method=method["id"],
        status="succeeded",
    )
    intent["description"] = data.get("description")
    world.emit("setup_intent.created", intent)
    world.emit("setup_intent.succeeded", intent)
    return _complete(world, session, payment_status="no_payment_required", setup_intent=intent["id"])


def _complete(world: World, session: Obj, **fields: str) -> str:
    owner = world.find("customer", session["customer"])
    email = owner["email"] if owner else session["customer_email"]
    session["customer_details"] = {
        "address": None,
        "email": email,
        "name": owner["name"] if owner else None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    code = world.find("promotion_code", world.hide(session["id"]).get("code"))
    if code is not None:
        promotions.redeem(world, code)
    session.update(status="complete", url=None, **fields)
    world.emit("checkout.session.completed", session)
    return "complete"


def _session_of(world: World, intent: Obj) -> Obj | None:
    session = world.find("checkout.session", world.hide(intent["id"]).get("session"))
    return session if session and session["payment_status"] == "unpaid" else None


@listens("payment_intent.succeeded")
def _delayed_succeeded(world: World, intent: Obj) -> None:
    session = _session_of(world, intent)
    if session is not None:
        if session["mode"] == "payment":
            _receipt(world, session, intent)
        session["payment_status"] = "paid"
        world.emit("checkout.session.async_payment_succeeded", session)


@listens("payment_intent.payment_failed")
def _delayed_failed(world: World, intent: Obj) -> None:
    session = _session_of(world, intent)
    if session is not None:
        world.emit("checkout.session.async_payment_failed", session)
