"""What the client asks of Stripe and what it gives back."""

import json

import pytest

from billing import stripe_client
from billing.errors import PaymentProviderRefused
from billing.sandbox import SandboxStripe
from tests.billing.sandbox.flows import real_client
from tests.billing.stripe_client.calls import HOOK_TYPES, START, plan, price, recharge, saved_card, topup


def test_answers_are_plain_json(customer: str):
    made = price()
    assert json.loads(json.dumps(made)) == made
    assert made["unit_amount_decimal"] == "4700"


def test_a_topup_carries_its_id_in_all_four_places(sandbox: SandboxStripe, customer: str):
    session = topup(customer, saves_card=True)
    assert (session["client_reference_id"], session["metadata"]) == ("t1", {"topup": "t1", "account": "7"})
    assert sandbox.requests[-1].idempotency_key == "topup-t1"
    sandbox.pay(session=session["id"])
    paid = stripe_client.session_retrieve(session_id=session["id"])
    intent = stripe_client.payment_intent_retrieve(payment_intent_id=paid["payment_intent"])
    assert (paid["payment_status"], paid["amount_subtotal"], paid["currency"]) == ("paid", 2500, "usd")
    assert intent["metadata"] == {"topup": "t1", "account": "7"}
    assert stripe_client.invoice_retrieve(invoice_id=paid["invoice"])["metadata"]["topup"] == "t1"
    assert stripe_client.charge_retrieve(charge_id=intent["latest_charge"])["paid"] is True
    assert [method["id"] for method in stripe_client.payment_methods_list(customer_id=customer)] == [
        intent["payment_method"]
    ]


def test_automatic_tax_takes_the_address_from_the_page(sandbox: SandboxStripe, customer: str):
    sandbox.rules_set(tax_basis_points=1000)
    assert topup(customer, automatic_tax=True)["amount_total"] == 2750


def test_asked_twice_a_topup_has_one_session(customer: str):
    assert topup(customer)["id"] == topup(customer)["id"]


def test_a_subscription_is_read_with_its_invoice_and_payment(sandbox: SandboxStripe, customer: str):
    session = plan(customer, price()["id"], promotion_codes=True)
    assert session["allow_promotion_codes"] is True
    sandbox.pay(session=session["id"])
    (listed,) = stripe_client.subscriptions_list(customer_id=customer)
    subscription = stripe_client.subscription_retrieve(subscription_id=listed["id"])
    assert (subscription["status"], subscription["metadata"]) == ("active", {"account": "7", "attempt": "a1"})
    assert subscription["items"]["data"][0]["current_period_end"] == START + 31 * 86_400
    invoice = stripe_client.invoice_retrieve(invoice_id=subscription["latest_invoice"])
    (payment,) = invoice["payments"]["data"]
    assert payment["payment"]["type"] == "payment_intent"
    assert [known["id"] for known in stripe_client.invoices_list(customer_id=customer)] == [invoice["id"]]
    real_client(sandbox).v1.subscriptions.cancel(subscription["id"])
    assert [ended["status"] for ended in stripe_client.subscriptions_list(customer_id=customer)] == ["canceled"]


def test_prices_are_found_by_lookup_key_and_replaced_by_new_ones(customer: str):
    assert stripe_client.price_find_by_lookup_key(lookup_key="std_month") is None
    old = price(4700)
    assert stripe_client.price_find_by_lookup_key(lookup_key="std_month") == old
    new = stripe_client.price_create(
        product_id=old["product"],
        lookup_key="std_month",
        amount_cents=4900,
        idempotency_key="price-2",
        takes_over_lookup_key=True,
    )
    found = stripe_client.price_find_by_lookup_key(lookup_key="std_month")
    assert (found or {})["id"] == new["id"]


def test_the_portal_is_configured_once_for_the_same_products(sandbox: SandboxStripe, customer: str):
    made = price()
    products = {made["product"]: [made["id"]]}
    first = stripe_client.portal_configuration_ensure(products=products, return_url="http://shop.test/billing")
    assert (
        stripe_client.portal_configuration_ensure(products=products, return_url="http://shop.test/billing")["id"]
        == first["id"]
    )
    assert (
        stripe_client.portal_configuration_ensure(products=products, return_url="http://shop.test/other")["id"]
        != first["id"]
    )
    session = stripe_client.portal_session_create(
        customer_id=customer, configuration_id=first["id"], return_url="http://shop.test/billing"
    )
    assert session["url"].startswith(sandbox.base_url)


def test_a_saved_card_is_charged_while_nobody_is_there(sandbox: SandboxStripe, customer: str):
    method = saved_card(sandbox, customer)
    intent = recharge(customer, method)
    assert (intent["status"], intent["metadata"]) == ("succeeded", {"topup": "t9", "account": "7"})
    assert recharge(customer, method)["id"] == intent["id"]


def test_refunds_and_disputes_are_read_back(sandbox: SandboxStripe, customer: str):
    intent = recharge(customer, saved_card(sandbox, customer))
    made = stripe_client.refund_create(refund_id="r1", payment_intent_id=intent["id"], amount_cents=500)
    assert (
        stripe_client.refund_create(refund_id="r1", payment_intent_id=intent["id"], amount_cents=500)["id"]
        == made["id"]
    )
    assert stripe_client.refund_retrieve(refund_id=made["id"])["status"] == "succeeded"
    dispute = sandbox.dispute_open(charge=intent["latest_charge"])
    assert stripe_client.dispute_retrieve(dispute_id=dispute["id"])["status"] == "needs_response"


def test_usage_counts_once_and_a_repetition_is_a_success(sandbox: SandboxStripe, customer: str):
    meter = stripe_client.meter_ensure(event_name="images", display_name="Images")
    assert stripe_client.meter_ensure(event_name="images", display_name="Images")["id"] == meter["id"]
    usage = {"event_name": "images", "customer_id": customer, "value": 3, "identifier": "job1-0", "timestamp_s": START}
    assert stripe_client.meter_event_create(**usage)["duplicate"] is False
    sandbox.world.state.saved_answers.clear()
    assert stripe_client.meter_event_create(**usage) == {"identifier": "job1-0", "duplicate": True}
    window = {"meter_id": meter["id"], "customer_id": customer, "start_s": START - 60, "end_s": START + 60}
    assert stripe_client.meter_usage_retrieve(**window) == 3
    with pytest.raises(PaymentProviderRefused) as refused:
        stripe_client.meter_event_create(**{**usage, "identifier": "old", "timestamp_s": 0})
    assert refused.value.fields["provider_code"] == "timestamp_too_far_in_past"


def test_events_of_more_than_twenty_types_come_oldest_first(sandbox: SandboxStripe, customer: str):
    sandbox.pay(session=topup(customer)["id"])
    sandbox.pay(session=plan(customer, price()["id"])["id"])
    events = stripe_client.events_list(types=HOOK_TYPES, created_from_s=START)
    expected = [event["id"] for event in sandbox.events if event["type"] in HOOK_TYPES]
    assert len(expected) >= 5
    assert sorted(event["id"] for event in events) == sorted(expected)
    assert [event["id"] for event in stripe_client.events_list(types=HOOK_TYPES[:20], created_from_s=START)] == expected
    assert stripe_client.events_list(types=HOOK_TYPES, created_from_s=START + 1) == []
    assert stripe_client.events_list(types=HOOK_TYPES, created_from_s=START, created_before_s=START) == []


def test_a_session_is_found_by_our_own_id(customer: str):
    topup(customer, topup_id="t1")
    wanted = topup(customer, topup_id="t2")
    topup(customer, topup_id="t3")
    search = {"customer_id": customer, "created_from_s": START}
    found = stripe_client.session_find(client_reference_id="t2", **search)
    assert (found or {})["id"] == wanted["id"]
    assert stripe_client.session_find(client_reference_id="t4", **search) is None
    assert stripe_client.session_find(client_reference_id="t2", customer_id=customer, created_from_s=START + 1) is None
    assert stripe_client.session_expire(session_id=wanted["id"])["status"] == "expired"


# Errors
