"""One function for each page and form. They call the same functions as the API and the operations do."""

from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import parse_qs

from billing.sandbox import checkout_pay, portal, subscriptions, timeline
from billing.sandbox.pages.html import Markup, Page, dollars, fill, join, message, page, redirect
from billing.sandbox.payment_methods import BEHAVIOURS
from billing.sandbox.periods import human_date
from billing.sandbox.refusals import Refusal
from billing.sandbox.world import Obj, World

Form: TypeAlias = dict[str, str]
View: TypeAlias = Callable[[World, str, str, Form], Page]

STATUS_TEXTS = {"complete": "This payment has been made already.", "expired": "This payment link has expired."}
GONE = "This link is no longer valid. Go back to where you came from and open it anew."


def serve_page(world: World, method: str, path: str, query: str, body: str) -> Page:
    """The page of a path, or a 404 that says so."""
    form = {
        name: values[-1]
        for name, values in parse_qs(body if method == "POST" else query, keep_blank_values=True).items()
    }
    for prefix, view in VIEWS.items():
        if path.startswith(prefix):
            with world.lock:
                timeline.pass_time(world)
                try:
                    return view(world, method, path.removeprefix(prefix), form)
                except Refusal as refusal:
                    return message("That did not work", str(refusal), refusal.status)
    if path == "/":
        return page("Sandbox", fill("home"))
    return message("Not found", "There is no such page in the payment sandbox.", 404)


def _choices(chosen: str) -> Markup:
    return join(
        [
            fill(
                "choice",
                value=name,
                label=behaviour.label,
                last4=behaviour.last4,
                checked="checked" if name == chosen else "",
            )
            for name, behaviour in BEHAVIOURS.items()
        ]
    )


def _bought(world: World, session: Obj) -> Markup:
    rows = []
    for line in world.hide(session["id"])["line_items"]:
        recurring = line["price"]["recurring"]
        rate = f" / {recurring['interval']}" if recurring else ""
        rows.append(
            fill(
                "row",
                label=f"{line['quantity']} × {line['description']}",
                value=dollars(line["amount_total"], line["currency"]) + rate,
            )
        )
    if session["total_details"]["amount_tax"]:
        rows.append(
            fill("row", label="Tax", value=dollars(session["total_details"]["amount_tax"], session["currency"]))
        )
    rows.append(fill("row", label="Total due today", value=dollars(session["amount_total"], session["currency"])))
    return join(rows)


def _pay_form(world: World, session: Obj, chosen: str, error: str) -> Page:
    setup = session["mode"] == "setup"
    title = "Save a payment method" if setup else "Subscribe" if session["mode"] == "subscription" else "Pay"
    label = title if setup else f"{title} {dollars(session['amount_total'], session['currency'])}"
    body = fill(
        "pay",
        title=title,
        rows=Markup("") if setup else _bought(world, session),
        error=fill("error", text=error) if error else Markup(""),
        choices=_choices(chosen),
        code=fill("code") if session["allow_promotion_codes"] else Markup(""),
        button=label,
        cancel=fill("link", url=session["cancel_url"], text="Cancel and go back")
        if session["cancel_url"]
        else Markup(""),
    )
    return page(title, body, 402 if error else 200)


def pay_page(world: World, method: str, session_id: str, form: Form) -> Page:
    session = world.find("checkout.session", session_id)
    if session is None:
        return message("Not found", GONE, 404)
    if session["status"] != "open":
        return message("Nothing to pay", STATUS_TEXTS[session["status"]], 200, session["cancel_url"] or "")
    if method != "POST":
        return _pay_form(world, session, "card", "")
    chosen = form.get("method", "card")
    try:
        outcome = checkout_pay.pay(
            world, session, chosen, code=form.get("code", ""), authenticated=form.get("authenticated") == "yes"
        )
    except Refusal as refusal:
        return _pay_form(world, session, chosen if chosen in BEHAVIOURS else "card", str(refusal))
    if outcome == "complete":
        return redirect(_success_url(session))
    if outcome == "requires_action" and "authenticated" not in form:
        return page("Confirm it is you", fill("authenticate", method=chosen))
    reason = checkout_pay.last_error(world, session) if outcome == "declined" else "The authentication failed."
    return _pay_form(world, session, chosen, reason or "Your payment method was declined.")


def _success_url(session: Obj) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _state(subscription: Obj) -> str:
    end = human_date(subscriptions.period_end(subscription))
    if subscription["status"] in subscriptions.ENDED:
        return "Ended"
    if subscription["cancel_at_period_end"]:
        return f"Ends on {end}"
    if subscription["schedule"]:
        return f"Changes on {end}"
    return f"{subscription['status'].replace('_', ' ').capitalize()}, renews on {end}"


def _subscription(world: World, session: Obj, subscription: Obj, features: Obj) -> Markup:
    item = subscriptions.items_of(subscription)[0]
    alive = subscription["status"] not in subscriptions.ENDED
    ending = subscription["cancel_at_period_end"] or subscription["schedule"]
    actions = []
    if alive and ending:
        actions.append(fill("action", act="renew", subscription=subscription["id"], label="Keep the plan as it is"))
    if alive and not subscription["cancel_at_period_end"] and features["subscription_cancel"]["enabled"]:
        actions.append(fill("action", act="cancel", subscription=subscription["id"], label="Cancel the plan"))
    others = (
        [price for price in portal.offered_prices(world, session) if price["id"] != item["price"]["id"]]
        if alive
        else []
    )
    if others:
        options = join([fill("option", value=price["id"], label=_price_label(world, price)) for price in others])
        actions.append(fill("switch", subscription=subscription["id"], options=options))
    return fill(
        "subscription", name=_price_label(world, item["price"]), state=_state(subscription), actions=join(actions)
    )


def _price_label(world: World, price: Obj) -> str:
    name = world.get("product", price["product"])["name"]
    return f"{name}, {dollars(price['unit_amount'] or 0, price['currency'])} a {price['recurring']['interval']}"


def _invoices(world: World, customer: str) -> Markup:
    rows = [
        fill(
            "invoice_row",
            date=human_date(invoice["created"]),
            number=invoice["number"] or "Draft",
            amount=dollars(invoice["total"]),
            status=invoice["status"],
            url=invoice["hosted_invoice_url"],
        )
        for invoice in reversed(world.all("invoice"))
        if invoice["customer"] == customer and invoice["status"] != "draft"
    ]
    return fill("invoices", rows=join(rows)) if rows else fill("paragraph", text="There are no invoices yet.")


def portal_page(world: World, method: str, session_id: str, form: Form) -> Page:
    session = portal.open_session(world, session_id)
    if session is None:
        return message("Link expired", GONE, 404)
    if method == "POST":
        _portal_act(world, session, form)
        return redirect(f"{world.base_url}/p/session/{session_id}")
    features = portal.features_of(world, session)
    owned = [
        found
        for found in world.all("subscription")
        if found["customer"] == session["customer"] and found["status"] != "incomplete_expired"
    ]
    shown = [_subscription(world, session, found, features) for found in reversed(owned)]
    body = fill(
        "portal",
        subscriptions=join(shown) if shown else fill("paragraph", text="There is no plan at present."),
        methods=fill("method", choices=_choices("card"))
        if features["payment_method_update"]["enabled"]
        else Markup(""),
        invoices=_invoices(world, session["customer"]) if features["invoice_history"]["enabled"] else Markup(""),
        back=fill("link", url=session["return_url"], text="Return to the shop")
        if session["return_url"]
        else Markup(""),
    )
    return page("Billing", body)


def _portal_act(world: World, session: Obj, form: Form) -> None:
    act, subscription = form.get("act"), form.get("subscription", "")
    if act == "cancel":
        portal.cancel(world, session, subscription)
    elif act == "renew":
        portal.renew(world, session, subscription)
    elif act == "switch":
        portal.switch(world, session, subscription, form.get("price", ""))
    elif act == "method" and form.get("method") in BEHAVIOURS:
        portal.replace_method(world, session, form["method"])


def invoice_page(world: World, method: str, invoice_id: str, form: Form) -> Page:
    invoice = world.find("invoice", invoice_id)
    if invoice is None or invoice["status"] == "draft":
        return message("Not found", GONE, 404)
    rows = [
        fill("row", label=line["description"], value=dollars(line["amount"], line["currency"]))
        for line in invoice["lines"]["data"]
    ]
    for label, amount in (
        ("Tax", invoice["total"] - invoice["total_excluding_tax"]),
        ("Total", invoice["total"]),
        ("Paid", invoice["amount_paid"]),
    ):
        if amount or label != "Tax":
            rows.append(fill("row", label=label, value=dollars(amount, invoice["currency"])))
    facts = f"{invoice['number']}, {human_date(invoice['created'])}, {invoice['status']}"
    return page(f"Invoice {invoice['number']}", fill("invoice", facts=facts, rows=join(rows)))


def receipt_page(world: World, method: str, charge_id: str, form: Form) -> Page:
    charge = world.find("charge", charge_id)
    if charge is None or not charge["paid"]:
        return message("Not found", GONE, 404)
    rows = [fill("row", label="Paid", value=dollars(charge["amount"], charge["currency"]))]
    if charge["amount_refunded"]:
        rows.append(fill("row", label="Refunded", value=dollars(charge["amount_refunded"], charge["currency"])))
    return page(
        "Receipt",
        fill(
            "invoice", facts=f"{charge['description'] or 'Payment'}, {human_date(charge['created'])}", rows=join(rows)
        ),
    )


VIEWS: dict[str, View] = {
    "/c/pay/": pay_page,
    "/p/session/": portal_page,
    "/invoices/": invoice_page,
    "/receipts/": receipt_page,
}
