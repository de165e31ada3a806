"""The HTTP routes of invoices and invoice payments."""

from billing.sandbox import invoices, payment_methods
from billing.sandbox.lists import matching, page, whole
from billing.sandbox.metadata import merged
from billing.sandbox.refusals import Refusal, card_error
from billing.sandbox.routing import Call, route
from billing.sandbox.world import Obj


@route("GET", "/v1/invoices/{invoice}")
def invoice_retrieve(call: Call) -> Obj:
    return call.world.get("invoice", call.id)


@route("POST", "/v1/invoices/{invoice}")
def invoice_update(call: Call) -> Obj:
    invoice = call.world.get("invoice", call.id)
    fields = {name: call.params.get(name) for name in ("auto_advance", "description") if name in call.params}
    return call.world.change(invoice, "invoice.updated", **fields, metadata=merged(invoice["metadata"], call.params))


@route("GET", "/v1/invoices")
def invoice_list(call: Call) -> Obj:
    found = matching(call, call.world.all("invoice"), "customer", "status", "created", "collection_method")
    if "subscription" in call.params:
        wanted = call.params.get("subscription")
        found = [invoice for invoice in found if invoices.subscription_id(invoice) == wanted]
    return page(call, "/v1/invoices", found)


@route("GET", "/v1/invoices/{invoice}/lines")
def invoice_lines(call: Call) -> Obj:
    lines = call.world.get("invoice", call.id)["lines"]["data"]
    return page(call, f"/v1/invoices/{call.id}/lines", lines[::-1])


def _open_invoice(call: Call) -> Obj:
    invoice = call.world.get("invoice", call.id)
    if invoice["status"] == "paid":
        raise Refusal("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] == "draft":
        invoices.finalize(call.world, invoice)
    if invoice["status"] not in ("open", "uncollectible", "paid"):
        raise Refusal(f"This invoice cannot be paid: its status is {invoice['status']}.", code="invoice_not_editable")
    return invoice


@route("POST", "/v1/invoices/{invoice}/pay")
def invoice_pay(call: Call) -> Obj:
    invoice = _open_invoice(call)
    if call.params.get("paid_out_of_band", False):
        invoices.mark_paid(call.world, invoice)
        return invoice
    named = call.params.get("payment_method")
    method = payment_methods.resolve(call.world, named) if named else invoices.method_for(call.world, invoice)
    status = invoices.collect(call.world, invoice, method, off_session=call.params.get("off_session", True))
    if status != "paid" and method is None:
        raise Refusal("There is no default payment method set on this Customer or Invoice.", code="resource_missing")
    if status != "paid":
        intent = invoices.intent_of(call.world, invoice)
        raise card_error(intent["last_payment_error"], intent)
    return invoice


@route("POST", "/v1/invoices/{invoice}/finalize")
def invoice_finalize(call: Call) -> Obj:
    return invoices.finalize(call.world, call.world.get("invoice", call.id))


def _close(call: Call, status: str, moment: str) -> Obj:
    invoice = call.world.get("invoice", call.id)
    if invoice["status"] not in ("open", "uncollectible"):
        raise Refusal(
            f"You can only do this to an open invoice: this one is {invoice['status']}.", code="invoice_not_editable"
        )
    transitions = {**invoice["status_transitions"], moment: call.world.now(invoice["customer"])}
    invoice.update(status=status, auto_advance=False, next_payment_attempt=None, status_transitions=transitions)
    return invoice


@route("POST", "/v1/invoices/{invoice}/void")
def invoice_void(call: Call) -> Obj:
    invoice = _close(call, "void", "voided_at")
    call.world.emit("invoice.voided", invoice)
    return invoice


@route("POST", "/v1/invoices/{invoice}/mark_uncollectible")
def invoice_mark_uncollectible(call: Call) -> Obj:
    invoice = _close(call, "uncollectible", "marked_uncollectible_at")
    call.world.emit("invoice.marked_uncollectible", invoice)
    return invoice


@route("GET", "/v1/invoice_payments/{invoice_payment}")
def invoice_payment_retrieve(call: Call) -> Obj:
    return call.world.get("invoice_payment", call.id)


@route("GET", "/v1/invoice_payments")
def invoice_payment_list(call: Call) -> Obj:
    found = matching(call, call.world.all("invoice_payment"), "invoice", "status", "created")
    wanted = call.params.plain("payment")
    if wanted is not None:
        found = [payment for payment in found if payment["payment"] == wanted]
    return page(call, "/v1/invoice_payments", found)


@route("GET", "/v1/charges/{charge}/refunds")
def charge_refunds(call: Call) -> Obj:
    refunds = [refund for refund in call.world.all("refund") if refund["charge"] == call.id]
    return whole(f"/v1/charges/{call.id}/refunds", refunds[::-1])
