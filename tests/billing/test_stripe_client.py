"""Billing's own calls to Stripe, against the stand-in: plain answers, our errors, safe repetition, webhooks."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from billing import stripe_client
from billing.errors import CardDeclined, PaymentProviderRefused, PaymentProviderUnavailable, PaymentsNotConfigured
from billing.sandbox import SandboxStripe
from billing.sandbox.delivery import sign
from billing.stripe_client import StripeConfig, WebhookRejected

START = 1_767_225_600  # 2026-01-01 00:00 UTC
HOOK_TYPES = [
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.finalization_failed",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "customer.deleted",
]


@pytest.fixture
def sandbox(settings: Any) -> Iterator[SandboxStripe]:
    with SandboxStripe(seed=1, now=lambda: START) as running:
        settings.BILLING_PROVIDER = "sandbox"
        settings.STRIPE_API_KEY = ""
        settings.STRIPE_API_BASE = running.base_url
        settings.STRIPE_WEBHOOK_SECRETS = ["whsec_sandbox"]
        yield running
        assert running.faults == []


@pytest.fixture
def customer(sandbox: SandboxStripe) -> str:
    made = stripe_client.customer_create(
        account_id="7", email="alice@example.com", name="Alice", idempotency_key="customer-7"
    )
    return made["id"]


@pytest.fixture
def hurried(sandbox: SandboxStripe) -> Iterator[None]:
    """Without the library's own repetitions, whose pauses last seconds."""
    config = StripeConfig(sandbox.api_key, api_base=sandbox.base_url, timeout_s=0.3, retries_max=0)
    with stripe_client.connected(config):
        yield


def topup(customer: str, **changes: Any) -> dict[str, Any]:
    given = {
        "topup_id": "t1",
        "account_id": "7",
        "customer_id": customer,
        "amount_cents": 2500,
        "description": "Funds",
        "success_url": "http://shop.test/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://shop.test/cancelled",
        "expires_at_s": START + 3600,
    }
    return stripe_client.checkout_topup_create(**{**given, **changes})


def price(cents: int = 4700, key: str = "std_month") -> dict[str, Any]:
    product = stripe_client.product_create(name="Standard", plan="standard", idempotency_key=f"product-{key}")
    return stripe_client.price_create(
        product_id=product["id"], lookup_key=key, amount_cents=cents, idempotency_key=f"price-{key}-{cents}"
    )


def plan(customer: str, price_id: str, **changes: Any) -> dict[str, Any]:
    given = {
        "attempt_id": "a1",
        "account_id": "7",
        "customer_id": customer,
        "price_id": price_id,
        "success_url": "http://shop.test/done",
        "cancel_url": "http://shop.test/cancelled",
        "expires_at_s": START + 3600,
    }
    return stripe_client.checkout_subscription_create(**{**given, **changes})


def recharge(customer: str, method: str, topup_id: str = "t9") -> dict[str, Any]:
    return stripe_client.payment_intent_create_off_session(
        topup_id=topup_id,
        account_id="7",
        customer_id=customer,
        payment_method_id=method,
        amount_cents=2000,
        description="Auto-recharge",
    )


def saved_card(sandbox: SandboxStripe, customer: str) -> str:
    session = stripe_client.checkout_setup_create(
        attempt_id="s1",
        account_id="7",
        customer_id=customer,
        success_url="http://shop.test/done",
        cancel_url="http://shop.test/no",
    )
    sandbox.pay(session=session["id"])
    (method,) = stripe_client.payment_methods_list(customer_id=customer)
    return method["id"]


# Every call


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
    (found,) = stripe_client.invoice_payments_list(payment_intent_id=payment["payment"]["payment_intent"])
    assert found["invoice"] == invoice["id"]
    assert [known["id"] for known in stripe_client.invoices_list(customer_id=customer)] == [invoice["id"]]
    assert stripe_client.subscription_cancel(subscription_id=subscription["id"])["status"] == "canceled"
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
    updated = stripe_client.payment_method_default_set(customer_id=customer, payment_method_id=method)
    assert updated["invoice_settings"]["default_payment_method"] == method


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
    stripe_client.meter_event_cancel(event_name="images", identifier="job1-0")
    assert stripe_client.meter_usage_retrieve(**window) == 0
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
    assert len(stripe_client.events_list(types=HOOK_TYPES, created_from_s=START, events_max=2)) == 2


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


def now_s() -> int:
    return int(timezone.now().timestamp())


def signed(
    sandbox: SandboxStripe, *, at: int | None = None, secrets: tuple[str, ...] = ("whsec_a",), **changes: Any
) -> tuple[bytes, str]:
    event = {**sandbox.events[0], **changes}
    return sandbox.webhooks.body_and_signature(event, timestamp=at or now_s(), secrets=secrets)


def believe(body: bytes, signature: str | None, *secrets: str, livemode: bool = False) -> dict[str, Any]:
    return stripe_client.webhook_construct(
        body=body, signature=signature, secrets=secrets or ("whsec_a",), livemode=livemode, now_s=now_s()
    )


@pytest.mark.usefixtures("customer")
def test_a_signed_event_is_believed_with_any_of_the_secrets(sandbox: SandboxStripe):
    body, signature = signed(sandbox)
    assert believe(body, signature)["type"] == "customer.created"
    assert believe(body, signature, "whsec_new", "whsec_a")["id"] == sandbox.events[0]["id"]
    both, rotating = signed(sandbox, secrets=("whsec_old", "whsec_a"))
    assert believe(both, rotating)["type"] == "customer.created"


@pytest.mark.usefixtures("customer")
@pytest.mark.parametrize("secrets", [(), ("",), ("  ", "")])
def test_without_a_secret_nothing_is_believed(sandbox: SandboxStripe, secrets: tuple[str, ...]):
    body, signature = signed(sandbox, secrets=("",))
    with pytest.raises(PaymentsNotConfigured):
        stripe_client.webhook_construct(body=body, signature=signature, secrets=secrets, livemode=False, now_s=now_s())


@pytest.mark.usefixtures("customer")
@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        ({"secrets": ("whsec_b",)}, "signature"),
        ({"at": -360}, "timestamp"),
        ({"at": 86_400}, "timestamp"),
        ({"at": 360}, "timestamp"),
        ({"livemode": True}, "mode"),
        ({"livemode": None}, "mode"),
        ({"object": "v2.core.event"}, "kind"),
        ({"id": None}, "kind"),
    ],
)
def test_a_forged_event_is_rejected(sandbox: SandboxStripe, forgery: dict[str, Any], reason: str):
    if "at" in forgery:
        forgery = {**forgery, "at": now_s() + forgery["at"]}
    body, signature = signed(sandbox, **forgery)
    with pytest.raises(WebhookRejected) as rejected:
        believe(body, signature)
    assert rejected.value.reason == reason


@pytest.mark.usefixtures("customer")
def test_an_altered_body_is_rejected(sandbox: SandboxStripe):
    body, signature = signed(sandbox)
    with pytest.raises(WebhookRejected, match="signature"):
        believe(body.replace(b"alice", b"mallo"), signature)


@pytest.mark.parametrize("signature", [None, "", "t=1", "v1=abc", "t=soon,v1=abc", "nonsense"])
def test_a_missing_or_broken_signature_is_rejected(signature: str | None):
    with pytest.raises(WebhookRejected, match="signature"):
        believe(b"{}", signature)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(("body", "reason"), [(b"not json", "body"), (b"[]", "kind"), (b"\xff\xfe", "body")])
def test_a_signed_body_that_is_no_event_is_rejected(body: bytes, reason: str):
    with pytest.raises(WebhookRejected) as rejected:
        believe(body, sign(body.decode("utf-8", "replace"), ["whsec_a"], now_s()))
    assert rejected.value.reason == reason


@pytest.mark.usefixtures("customer")
def test_an_event_of_another_api_version_is_told_loudly(sandbox: SandboxStripe, caplog: pytest.LogCaptureFixture):
    body, signature = signed(sandbox, api_version="2024-06-20")
    assert believe(body, signature)["api_version"] == "2024-06-20"
    assert "is of API version 2024-06-20, expected 2026-10-28.endive" in caplog.text
