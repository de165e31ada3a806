"""Declines, refusals, lost answers and missing permissions, in our own words."""

import logging
from typing import Any

import pytest
from django.db import transaction

from billing import stripe_client
from billing.errors import CardDeclined, PaymentProviderRefused, PaymentProviderUnavailable, PaymentsNotConfigured
from billing.sandbox import SandboxStripe
from billing.stripe_client import StripeConfig
from tests.billing.stripe_client.calls import START, recharge, saved_card, topup


@pytest.mark.parametrize(("behaviour", "needs_person"), [("insufficient_funds", False), ("authenticate", True)])
def test_a_decline_is_ours_with_its_reason(sandbox: SandboxStripe, customer: str, behaviour: str, needs_person: bool):
    method = saved_card(sandbox, customer)
    sandbox.method_behaves(payment_method=method, behaviour=behaviour)
    with pytest.raises(CardDeclined) as declined:
        recharge(customer, method)
    fields = declined.value.fields
    assert fields["needs_person"] is needs_person
    assert fields["decline_code"] == ("authentication_required" if needs_person else "insufficient_funds")
    assert (
        stripe_client.payment_intent_retrieve(payment_intent_id=fields["payment_intent_id"])["status"]
        == "requires_payment_method"
    )
    assert "card was declined" in declined.value.message.lower()


def test_a_refused_request_names_its_parameter(customer: str):
    with pytest.raises(PaymentProviderRefused) as refused:
        topup(customer, amount_cents=10)
    assert (refused.value.fields["provider_code"], refused.value.fields["missing"]) == ("amount_too_small", False)
    with pytest.raises(PaymentProviderRefused) as refused:
        stripe_client.subscription_retrieve(subscription_id="sub_nobody")
    assert refused.value.fields["missing"] is True


def test_a_key_with_another_amount_is_refused(customer: str):
    topup(customer, amount_cents=2500)
    with pytest.raises(PaymentProviderRefused, match="same parameters"):
        topup(customer, amount_cents=9900)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", ["refuse", "error", "unavailable", "rate_limit", "conflict", "hang"])
def test_trouble_before_the_work_leaves_nothing_and_may_be_repeated(sandbox: SandboxStripe, customer: str, kind: str):
    sandbox.trouble.add(kind, path="/v1/checkout/sessions", seconds=0.5)
    with pytest.raises(PaymentProviderUnavailable) as failed:
        topup(customer)
    assert failed.value.fields == {"operation": "checkout_topup_create", "outcome_unknown": False}
    assert stripe_client.session_find(customer_id=customer, client_reference_id="t1", created_from_s=START) is None


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", ["drop_after_commit", "hang_after_commit"])
def test_after_a_lost_answer_the_same_topup_gets_the_session_that_was_made(
    sandbox: SandboxStripe, customer: str, kind: str
):
    sandbox.trouble.add(kind, path="/v1/checkout/sessions", seconds=0.5)
    with pytest.raises(PaymentProviderUnavailable):
        topup(customer)
    made = stripe_client.session_find(customer_id=customer, client_reference_id="t1", created_from_s=START)
    assert topup(customer)["id"] == (made or {})["id"]


@pytest.mark.usefixtures("hurried")
def test_a_remembered_500_is_told_every_time_but_the_session_can_be_found(sandbox: SandboxStripe, customer: str):
    sandbox.trouble.add("error_after_commit", path="/v1/checkout/sessions")
    for _ in range(2):
        with pytest.raises(PaymentProviderUnavailable):
            topup(customer)
    found = stripe_client.session_find(customer_id=customer, client_reference_id="t1", created_from_s=START)
    assert (found or {})["status"] == "open"


@pytest.mark.parametrize(
    ("kind", "unknown"), [("error_after_commit", True), ("hang_after_commit", True), ("rate_limit", False)]
)
def test_a_charge_without_an_answer_is_of_unknown_outcome(
    sandbox: SandboxStripe, customer: str, kind: str, unknown: bool
):
    method = saved_card(sandbox, customer)
    sandbox.trouble.add(kind, path="/v1/payment_intents", seconds=0.5)
    config = StripeConfig(sandbox.api_key, api_base=sandbox.base_url, timeout_s=0.2, retries_max=0)
    with stripe_client.connected(config), pytest.raises(PaymentProviderUnavailable) as failed:
        recharge(customer, method)
    assert failed.value.fields["outcome_unknown"] is unknown
    assert ("payment_intent.succeeded" in sandbox.event_types) is unknown


def test_the_library_repeats_a_dropped_call_by_itself_with_the_same_key(sandbox: SandboxStripe, customer: str):
    sandbox.trouble.add("drop_after_commit", path="/v1/checkout/sessions")
    assert topup(customer)["status"] == "open"
    calls = [request for request in sandbox.requests if request.path == "/v1/checkout/sessions"]
    assert [(call.idempotency_key, call.replayed) for call in calls] == [("topup-t1", False), ("topup-t1", True)]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", ["forbidden", "unauthorized"])
def test_a_missing_permission_is_a_fault_of_configuration(sandbox: SandboxStripe, customer: str, kind: str):
    sandbox.trouble.add(kind, path="/v1/checkout/sessions")
    with pytest.raises(PaymentsNotConfigured):
        topup(customer)


@pytest.mark.usefixtures("hurried")
def test_nobody_listening_is_unavailable(sandbox: SandboxStripe, customer: str):
    sandbox.refuse_connections()
    with pytest.raises(PaymentProviderUnavailable):
        topup(customer)


def test_without_a_key_payments_are_off(settings: Any):
    settings.BILLING_PROVIDER, settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = "", "", ""
    assert not stripe_client.is_configured()
    with pytest.raises(PaymentsNotConfigured):
        stripe_client.session_retrieve(session_id="cs_1")


def test_a_live_key_never_leaves_for_another_address(settings: Any):
    settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = "sk_live_x", "http://127.0.0.1:1"
    assert not stripe_client.is_configured()
    assert StripeConfig("rk_live_x").livemode
    assert not StripeConfig("sk_test_x").livemode


@pytest.mark.django_db(transaction=True)
def test_a_call_inside_a_transaction_is_a_programming_error(sandbox: SandboxStripe, customer: str):
    before = len(sandbox.requests)
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a database transaction"):
        topup(customer)
    assert len(sandbox.requests) == before
    assert topup(customer)["status"] == "open"


@pytest.mark.django_db
def test_the_transaction_that_a_test_lives_in_does_not_count(sandbox: SandboxStripe, customer: str):
    assert topup(customer)["status"] == "open"


def test_logs_hold_ids_but_no_secrets_and_no_addresses(
    sandbox: SandboxStripe, customer: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    session = topup(customer)
    with pytest.raises(PaymentProviderRefused):
        topup(customer, amount_cents=10, topup_id="t2")
    text = caplog.text
    assert "checkout_topup_create failed: InvalidRequestError status=400 code=amount_too_small request=req_" in text
    for secret in (session["url"], "/c/pay/", sandbox.api_key, "whsec_", "alice@example.com"):
        assert secret not in text
    assert "sk_test" not in repr(StripeConfig("sk_test_x", ("whsec_x",)))
    assert "whsec" not in repr(StripeConfig("sk_test_x", ("whsec_x",)))


# Webhooks
