"""Checkout: adding funds, subscribing and saving a card, with every way a payment can go."""

import pytest
import stripe as library

from billing.sandbox import SandboxStripe
from tests.billing.sandbox.conftest import START
from tests.billing.sandbox.flows import Shop


def types_after(stripe: SandboxStripe, event_type: str) -> list[str]:
    """The event types from the first of a type on."""
    found = stripe.event_types
    return found[found.index(event_type) :]


def test_a_card_pays_a_topup_at_once(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer(), 2500, invoice_creation={"enabled": True})
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert stripe.pay(session=session.id) == "complete"
    paid = shop.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent.latest_charge", "invoice.payments", "line_items"]}
    )
    assert (paid.status, paid.payment_status, paid.amount_subtotal, paid.url) == ("complete", "paid", 2500, None)
    assert paid.payment_intent.metadata.to_dict() == {"topup": "1"}
    assert paid.payment_intent.latest_charge.paid
    assert paid.invoice.status == "paid"
    assert paid.invoice.payments.data[0].payment.payment_intent == paid.payment_intent.id
    assert paid.line_items.data[0].amount_total == 2500
    assert types_after(stripe, "payment_intent.created") == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_method.attached",
        "payment_intent.succeeded",
        "invoice.created",
        "invoice.finalized",
        "invoice_payment.paid",
        "invoice.payment_succeeded",
        "invoice.paid",
        "checkout.session.completed",
    ]


def test_metadata_of_the_session_does_not_reach_the_payment_intent(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer(), payment_intent_data={})
    stripe.pay(session=session.id)
    intent = shop.v1.payment_intents.retrieve(shop.session(session.id).payment_intent)
    assert intent.metadata.to_dict() == {}


def test_a_declined_card_leaves_the_session_open_for_another(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer())
    assert stripe.pay(session=session.id, method="card_declined") == "declined"
    assert shop.session(session.id).status == "open"
    assert "payment_intent.payment_failed" in stripe.event_types
    assert stripe.pay(session=session.id, method="card") == "complete"
    assert len(shop.v1.payment_intents.list({}).data) == 1


def test_a_card_that_asks_for_authentication_pays_after_it(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer())
    assert stripe.pay(session=session.id, method="authenticate") == "requires_action"
    assert stripe.pay(session=session.id, method="authenticate", authenticated=True) == "complete"


@pytest.mark.parametrize(
    ("method", "last_type", "status"), [("bank", "succeeded", "paid"), ("bank_fails", "failed", "unpaid")]
)
def test_a_bank_debit_completes_unpaid_and_ends_days_later(
    stripe: SandboxStripe, shop: Shop, method: str, last_type: str, status: str
):
    session = shop.topup(shop.customer())
    stripe.pay(session=session.id, method=method)
    waiting = shop.session(session.id)
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    assert stripe.event_types[-1] == "checkout.session.completed"
    stripe.advance(days=5)
    assert stripe.event_types[-1] == f"checkout.session.async_payment_{last_type}"
    assert shop.session(session.id).payment_status == status


def test_a_session_expires_by_itself_and_on_request(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    early, late = shop.topup(customer, expires_at=START + 1800), shop.topup(customer)
    assert shop.v1.checkout.sessions.expire(late.id).status == "expired"
    stripe.advance(seconds=1800)
    assert shop.session(early.id).status == "expired"
    assert stripe.event_types.count("checkout.session.expired") == 2
    with pytest.raises(library.InvalidRequestError, match="expired"):
        shop.v1.checkout.sessions.expire(late.id)


def test_tax_is_added_to_the_total_and_not_to_the_subtotal(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer(address={"country": "US", "postal_code": "94107"})
    with pytest.raises(library.InvalidRequestError, match="head office"):
        shop.topup(customer, automatic_tax={"enabled": True})
    stripe.rules_set(tax_basis_points=1000)
    session = shop.topup(customer, automatic_tax={"enabled": True})
    assert (session.amount_subtotal, session.amount_total, session.total_details.amount_tax) == (1000, 1100, 100)


def test_tax_needs_to_know_where_the_customer_is(stripe: SandboxStripe, shop: Shop):
    stripe.rules_set(tax_basis_points=1000)
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.topup(shop.customer(), automatic_tax={"enabled": True})
    assert refused.value.code == "customer_tax_location_invalid"
    assert (
        shop.topup(shop.customer(), automatic_tax={"enabled": True}, customer_update={"address": "auto"}).amount_total
        == 1100
    )


@pytest.mark.parametrize(("percent", "total", "status"), [(50, 500, "paid"), (100, 0, "no_payment_required")])
def test_a_promotion_code_lowers_the_total(stripe: SandboxStripe, shop: Shop, percent: int, total: int, status: str):
    coupon = shop.v1.coupons.create({"percent_off": percent, "duration": "once"})
    shop.v1.promotion_codes.create({"code": "LESS", "promotion": {"type": "coupon", "coupon": coupon.id}})
    session = shop.topup(shop.customer(), allow_promotion_codes=True)
    stripe.pay(session=session.id, code="less")
    paid = shop.session(session.id)
    assert (paid.amount_subtotal, paid.amount_total, paid.payment_status) == (1000, total, status)


def test_a_card_is_saved_without_a_payment(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    session = shop.v1.checkout.sessions.create(
        {"mode": "setup", "currency": "usd", "customer": customer, "success_url": "http://shop.test/done"}
    )
    stripe.pay(session=session.id)
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert (done.payment_status, done.setup_intent.status) == ("no_payment_required", "succeeded")
    assert [method.id for method in shop.v1.payment_methods.list({"customer": customer}).data] == [
        done.setup_intent.payment_method
    ]


def test_checkout_of_a_plan_starts_a_paid_subscription(stripe: SandboxStripe, shop: Shop):
    customer, price = shop.customer(), shop.price(4700)
    session = shop.plan(customer, price)
    stripe.pay(session=session.id)
    paid = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription.latest_invoice.payments"]})
    subscription = paid.subscription
    assert (paid.payment_status, subscription.status) == ("paid", "active")
    assert subscription.metadata.to_dict() == {"account": "7"}
    item = subscription["items"].data[0]
    assert (item.price.id, item.current_period_start, item.current_period_end) == (price, START, START + 31 * 86_400)
    assert "current_period_end" not in subscription
    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid) == ("paid", "subscription_create", 4700)
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert types_after(stripe, "customer.subscription.created")[-4:] == [
        "invoice.payment_succeeded",
        "invoice.paid",
        "customer.subscription.updated",
        "checkout.session.completed",
    ]


def test_the_invoice_of_a_payment_intent_is_found_through_invoice_payments(stripe: SandboxStripe, shop: Shop):
    subscription = shop.subscribed(shop.customer(), shop.price())
    (intent,) = shop.v1.payment_intents.list({}).data
    found = shop.v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": intent.id}}).data
    assert [payment.invoice for payment in found] == [shop.subscription(subscription)["latest_invoice"]]
    assert (
        shop.v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": "pi_other"}}).data == []
    )


def test_a_declined_first_payment_starts_no_subscription(stripe: SandboxStripe, shop: Shop):
    customer = shop.customer()
    session = shop.plan(customer, shop.price())
    assert stripe.pay(session=session.id, method="insufficient_funds") == "declined"
    assert shop.v1.subscriptions.list({"customer": customer, "status": "all"}).data == []


@pytest.mark.parametrize(
    ("settles", "status", "event_type"), [(True, "active", "succeeded"), (False, "past_due", "failed")]
)
def test_a_bank_debit_opens_the_subscription_while_it_settles(
    stripe: SandboxStripe, shop: Shop, settles: bool, status: str, event_type: str
):
    stripe.rules_set(after_last_retry="past_due")
    subscription = shop.subscribed(shop.customer(), shop.price(), "bank")
    assert shop.subscription(subscription)["status"] == "active"
    assert "invoice.paid" not in stripe.event_types
    (intent,) = shop.v1.payment_intents.list({}).data
    stripe.settle(payment_intent=intent.id, succeeded=settles)
    assert shop.subscription(subscription)["status"] == status
    assert ("invoice.paid" in stripe.event_types) == settles
    assert stripe.event_types[-1] == f"checkout.session.async_payment_{event_type}"


def test_a_trial_needs_no_payment_until_it_ends(stripe: SandboxStripe, shop: Shop):
    session = shop.plan(shop.customer(), shop.price(), subscription_data={"trial_period_days": 7})
    stripe.pay(session=session.id)
    paid = shop.session(session.id)
    subscription = shop.subscription(paid.subscription)
    assert (paid.payment_status, subscription["status"], subscription["trial_end"]) == (
        "no_payment_required",
        "trialing",
        START + 7 * 86_400,
    )
    stripe.advance(days=7, seconds=3600)
    assert shop.subscription(paid.subscription)["status"] == "active"
    invoices = shop.v1.invoices.list({"subscription": paid.subscription}).data
    assert [(invoice.status, invoice.total) for invoice in invoices] == [("paid", 4700), ("paid", 0)]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"line_items": []}, "parameter_missing", "line_items"),
        ({"success_url": "done"}, "url_invalid", "success_url"),
        ({"expires_at": START + 60}, None, "expires_at"),
        ({"subscription_data": {"metadata": {"account": "7"}}}, None, "subscription_data"),
        ({"customer_email": "bob@example.com"}, None, "customer_email"),
    ],
)
def test_stripes_own_rules_refuse_a_session(shop: Shop, change: dict, code: str | None, param: str):
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.topup(shop.customer(), **change)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


def test_an_unknown_customer_is_named_as_the_wrong_parameter(shop: Shop):
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.topup("cus_nobody")
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, "resource_missing", "customer")


def test_a_topup_below_the_minimum_charge_is_refused(shop: Shop):
    with pytest.raises(library.InvalidRequestError) as refused:
        shop.topup(shop.customer(), 49)
    assert refused.value.code == "amount_too_small"


def test_a_recurring_price_is_refused_in_payment_mode(shop: Shop):
    with pytest.raises(library.InvalidRequestError, match="recurring price"):
        shop.topup(shop.customer(), line_items=[{"price": shop.price(), "quantity": 1}])


def test_a_paid_session_cannot_be_paid_again(stripe: SandboxStripe, shop: Shop):
    session = shop.topup(shop.customer())
    stripe.pay(session=session.id)
    with pytest.raises(Exception, match="status of `complete`"):
        stripe.pay(session=session.id)
    assert len(shop.v1.charges.list({}).data) == 1
