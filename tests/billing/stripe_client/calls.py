"""The parameters of the calls that the tests make, and the facts that they share."""

from typing import Any

from billing import stripe_client
from billing.sandbox import SandboxStripe

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
