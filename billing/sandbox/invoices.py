"""Invoices: drafting, finalizing, collecting, voiding, and the payments that belong to them.

Stripe's life of an invoice: draft, open, then paid, void or uncollectible (docs.stripe.com/invoicing/overview).
"""

from billing.sandbox import payment_methods, payments
from billing.sandbox.lists import whole
from billing.sandbox.periods import DAY_S
from billing.sandbox.refusals import Refusal
from billing.sandbox.routing import action, listens, signal
from billing.sandbox.world import Obj, World

TAX_RATE = "txr_sandbox"


def draft(
    world: World,
    *,
    customer: str,
    lines: list[Obj],
    reason: str,
    subscription: Obj | None = None,
    discount: int = 0,
    tax: int = 0,
    metadata: dict[str, str] | None = None,
) -> Obj:
    """A draft with these lines. `discount` and `tax` are cents on the whole."""
    owner, now = world.get("customer", customer), world.now(customer)
    subtotal = sum(line["amount"] for line in lines)
    total = subtotal - discount + tax
    invoice_id = world.new_id("in")
    for line in lines:
        line["invoice"] = invoice_id
    invoice = world.new(
        "invoice",
        id=invoice_id,
        amount_due=max(total, 0),
        amount_remaining=max(total, 0),
        auto_advance=subscription is not None,
        automatic_tax=_automatic_tax(tax),
        billing_reason=reason,
        collection_method=subscription["collection_method"] if subscription else "charge_automatically",
        created=now,
        currency=lines[0]["currency"] if lines else "usd",
        customer=customer,
        customer_address=owner["address"],
        customer_email=owner["email"],
        customer_name=owner["name"],
        customer_phone=owner["phone"],
        lines=whole(f"/v1/invoices/{invoice_id}/lines", lines),
        metadata=metadata or {},
        parent=_parent(subscription),
        period_end=now,
        period_start=subscription["items"]["data"][0]["current_period_start"] if subscription else now,
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        test_clock=owner["test_clock"],
        total=total,
        total_excluding_tax=total - tax,
        total_taxes=_taxes(tax, subtotal - discount),
    )
    world.emit("invoice.created", invoice)
    return invoice


def _automatic_tax(tax: int) -> Obj:
    status = "complete" if tax else None
    return {"disabled_reason": None, "enabled": tax > 0, "liability": None, "provider": None, "status": status}


def _parent(subscription: Obj | None) -> Obj | None:
    if subscription is None:
        return None
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    return {"quote_details": None, "subscription_details": details, "type": "subscription_details"}


def _taxes(tax: int, taxable: int) -> list[Obj]:
    if not tax:
        return []
    rate = {"tax_rate_details": {"tax_rate": TAX_RATE}, "type": "tax_rate_details"}
    reason = {"tax_behavior": "exclusive", "taxability_reason": "standard_rated"}
    return [{"amount": tax, "taxable_amount": taxable, **rate, **reason}]


def subscription_id(invoice: Obj) -> str | None:
    parent = invoice["parent"]
    return parent["subscription_details"]["subscription"] if parent else None


def finalize(world: World, invoice: Obj, intent: Obj | None = None) -> Obj:
    """Opens a draft: number, pages, the customer's balance applied, and a payment intent for what is left to pay.
    With an intent given, the invoice is the receipt of that payment."""
    if invoice["status"] != "draft":
        raise Refusal("This invoice is already finalized, so you can't modify it.", code="invoice_not_editable")
    owner, now = world.get("customer", invoice["customer"]), world.now(invoice["customer"])
    due = _apply_balance(owner, invoice) if intent is None else invoice["total"]
    number = f"{owner['invoice_prefix']}-{owner['next_invoice_sequence']:04d}"
    owner["next_invoice_sequence"] += 1
    invoice.update(
        amount_due=due,
        amount_remaining=due,
        effective_at=now,
        automatically_finalizes_at=None,
        hosted_invoice_url=f"{world.base_url}/invoices/{invoice['id']}",
        invoice_pdf=f"{world.base_url}/invoices/{invoice['id']}?print=1",
        number=number,
        status="open",
        status_transitions={**invoice["status_transitions"], "finalized_at": now},
    )
    if due:
        attach_payment(world, invoice, intent or _intent(world, invoice))
    world.emit("invoice.finalized", invoice)
    if not due:
        mark_paid(world, invoice)
    return invoice


def _apply_balance(owner: Obj, invoice: Obj) -> int:
    """What is due after the customer's balance. Amounts too small to charge go to the balance instead."""
    starting = owner["balance"]
    due, ending = max(invoice["total"] + starting, 0), min(invoice["total"] + starting, 0)
    if 0 < due < payments.AMOUNT_CENTS_MIN:
        due, ending = 0, due
    invoice.update(starting_balance=starting, ending_balance=ending)
    owner["balance"] = ending
    return int(due)


def _intent(world: World, invoice: Obj) -> Obj:
    intent = payments.make(
        world, amount=invoice["amount_due"], currency=invoice["currency"], customer=invoice["customer"]
    )
    intent["description"] = (
        "Subscription update" if invoice["billing_reason"] == "subscription_update" else "Subscription creation"
    )
    return intent


def attach_payment(world: World, invoice: Obj, intent: Obj) -> Obj:
    """Ties a payment intent to an invoice; the only way from one to the other since API version basil."""
    world.hide(intent["id"])["invoice"] = invoice["id"]
    world.hide(invoice["id"])["payment_intent"] = intent["id"]
    return world.new(
        "invoice_payment",
        id=world.new_id("inpay"),
        amount_requested=invoice["amount_due"],
        created=world.now(invoice["customer"]),
        currency=invoice["currency"],
        invoice=invoice["id"],
        payment={"payment_intent": intent["id"], "type": "payment_intent"},
    )


def intent_of(world: World, invoice: Obj) -> Obj:
    return world.get("payment_intent", world.hide(invoice["id"]).get("payment_intent"), "payment_intent")


def payment_of(world: World, invoice: Obj) -> Obj | None:
    return next((found for found in world.all("invoice_payment") if found["invoice"] == invoice["id"]), None)


def collect(
    world: World, invoice: Obj, method: Obj | None, *, off_session: bool = True, authenticated: bool = False
) -> str:
    """Tries to collect an open invoice; returns its status afterwards. What follows is told by signals."""
    if invoice["status"] != "open":
        return str(invoice["status"])
    invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + 1)
    if method is None:
        _failed(world, invoice)
        return str(invoice["status"])
    status = payments.attempt(
        world, intent_of(world, invoice), method, off_session=off_session, authenticated=authenticated
    )
    if status == "requires_action":
        world.emit("invoice.payment_action_required", invoice)
    return str(invoice["status"])


def _failed(world: World, invoice: Obj) -> None:
    """Announces a failed attempt and plans the next one, if the rules leave one."""
    days = world.rules.retry_after_days
    retries = invoice["billing_reason"] != "subscription_create" and invoice["attempt_count"] <= len(days)
    due = world.now(invoice["customer"]) + days[invoice["attempt_count"] - 1] * DAY_S if retries else None
    invoice["next_payment_attempt"] = due
    if due is not None:
        world.plan(due, "invoice.retry", invoice["id"], invoice["customer"])
    world.emit("invoice.payment_failed", invoice)
    signal(world, "invoice.payment_failed", invoice)


@listens("payment_intent.succeeded")
def _intent_succeeded(world: World, intent: Obj) -> None:
    invoice = world.find("invoice", world.hide(intent["id"]).get("invoice"))
    if invoice is not None and invoice["status"] in ("open", "uncollectible"):
        mark_paid(world, invoice)


@listens("payment_intent.payment_failed")
def _intent_failed(world: World, intent: Obj) -> None:
    invoice = world.find("invoice", world.hide(intent["id"]).get("invoice"))
    if invoice is None or invoice["status"] != "open":
        return
    if intent["last_payment_error"]["code"] == "authentication_required":
        world.emit("invoice.payment_action_required", invoice)
    _failed(world, invoice)


def mark_paid(world: World, invoice: Obj) -> None:
    now = world.now(invoice["customer"])
    invoice.update(
        status="paid",
        amount_paid=invoice["amount_due"],
        amount_remaining=0,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions={**invoice["status_transitions"], "paid_at": now},
    )
    payment = payment_of(world, invoice)
    if payment is not None:
        payment.update(
            status="paid", amount_paid=invoice["amount_due"], status_transitions={"canceled_at": None, "paid_at": now}
        )
        world.emit("invoice_payment.paid", payment)
    world.emit("invoice.payment_succeeded", invoice)
    world.emit("invoice.paid", invoice)
    signal(world, "invoice.paid", invoice)


@action("invoice.finalize")
def finalize_when_due(world: World, invoice_id: str) -> None:
    invoice = world.get("invoice", invoice_id)
    if invoice["status"] == "draft" and invoice["auto_advance"]:
        finalize(world, invoice)
        if invoice["collection_method"] == "send_invoice":
            _send(world, invoice)
        else:
            collect(world, invoice, method_for(world, invoice))


def _send(world: World, invoice: Obj) -> None:
    """The customer has until the due date; then the subscription is past due."""
    subscription = world.find("subscription", subscription_id(invoice))
    if invoice["status"] == "open" and subscription is not None:
        due = world.now(invoice["customer"]) + subscription["days_until_due"] * DAY_S
        invoice["due_date"] = due
        world.plan(due, "invoice.overdue", invoice["id"], invoice["customer"])
    world.emit("invoice.sent", invoice)


@action("invoice.overdue")
def overdue_when_due(world: World, invoice_id: str) -> None:
    invoice = world.get("invoice", invoice_id)
    subscription = world.find("subscription", subscription_id(invoice))
    if invoice["status"] == "open" and subscription is not None and subscription["status"] == "active":
        world.change(subscription, "customer.subscription.updated", status="past_due")


@action("invoice.retry")
def retry_when_due(world: World, invoice_id: str) -> None:
    invoice = world.get("invoice", invoice_id)
    if invoice["status"] == "open" and invoice["auto_advance"]:
        collect(world, invoice, method_for(world, invoice))


def method_for(world: World, invoice: Obj) -> Obj | None:
    """The subscription's own payment method, else the customer's default."""
    subscription = world.find("subscription", subscription_id(invoice))
    own = world.find("payment_method", subscription["default_payment_method"]) if subscription else None
    return own or payment_methods.default_for(world, invoice["customer"])
