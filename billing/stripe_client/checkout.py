"""Pages at Stripe: Checkout Sessions and the Billing Portal. Their addresses are secrets: never stored, never logged.

`success_url` may hold {CHECKOUT_SESSION_ID}, which Stripe fills in
(docs.stripe.com/payments/checkout/custom-success-page).
"""

from __future__ import annotations

from billing.stripe_client.connection import Plain, call
from billing.stripe_client.library import stripe

SESSIONS_SEARCHED_MAX = 500


def checkout_topup_create(
    *,
    topup_id: str,
    account_id: str,
    customer_id: str,
    amount_cents: int,
    description: str,
    success_url: str,
    cancel_url: str,
    expires_at_s: int,
    currency: str = "usd",
    saves_card: bool = False,
    automatic_tax: bool = False,
) -> Plain:
    """A session that adds funds. The top-up's id is client reference, metadata of session and of payment intent (which
    does not inherit it), and idempotency key: asked twice within a day it is the same session."""
    metadata = {"topup": topup_id, "account": account_id}
    params: stripe.params.checkout.SessionCreateParams = {
        "mode": "payment",
        "customer": customer_id,
        "client_reference_id": topup_id,
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": currency,
                    "unit_amount": amount_cents,
                    "product_data": {"name": description},
                },
            }
        ],
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata, "description": description},
        "invoice_creation": {"enabled": True, "invoice_data": {"metadata": metadata}},
        "adaptive_pricing": {"enabled": False},
        "success_url": success_url,
        "cancel_url": cancel_url,
        "expires_at": expires_at_s,
    }
    if saves_card:
        params["payment_intent_data"]["setup_future_usage"] = "off_session"
    return _session("checkout_topup_create", params, f"topup-{topup_id}", automatic_tax)


def checkout_subscription_create(
    *,
    attempt_id: str,
    account_id: str,
    customer_id: str,
    price_id: str,
    success_url: str,
    cancel_url: str,
    expires_at_s: int,
    promotion_codes: bool = False,
    automatic_tax: bool = False,
) -> Plain:
    """A session that subscribes an account to a price. The attempt is a row of ours, committed before."""
    metadata = {"account": account_id, "attempt": attempt_id}
    params: stripe.params.checkout.SessionCreateParams = {
        "mode": "subscription",
        "customer": customer_id,
        "client_reference_id": attempt_id,
        "line_items": [{"price": price_id, "quantity": 1}],
        "metadata": metadata,
        "subscription_data": {"metadata": metadata},
        "success_url": success_url,
        "cancel_url": cancel_url,
        "expires_at": expires_at_s,
    }
    if promotion_codes:
        params["allow_promotion_codes"] = True
    return _session("checkout_subscription_create", params, f"subscribe-{attempt_id}", automatic_tax)


def checkout_setup_create(
    *, attempt_id: str, account_id: str, customer_id: str, success_url: str, cancel_url: str, currency: str = "usd"
) -> Plain:
    """A session that saves a card without a payment, for auto-recharge."""
    metadata = {"account": account_id, "attempt": attempt_id}
    params: stripe.params.checkout.SessionCreateParams = {
        "mode": "setup",
        "currency": currency,
        "customer": customer_id,
        "client_reference_id": attempt_id,
        "metadata": metadata,
        "setup_intent_data": {"metadata": metadata},
        "success_url": success_url,
        "cancel_url": cancel_url,
    }
    return _session("checkout_setup_create", params, f"setup-{attempt_id}", automatic_tax=False)


def _session(
    operation: str, params: stripe.params.checkout.SessionCreateParams, idempotency_key: str, automatic_tax: bool
) -> Plain:
    if automatic_tax:  # needs a tax origin in the Stripe account, and the customer's address taken over from the page
        params["automatic_tax"] = {"enabled": True}
        params["customer_update"] = {"address": "auto"}
    session: Plain = call(
        operation,
        lambda client: client.v1.checkout.sessions.create(params, {"idempotency_key": idempotency_key}),
    )
    return session


def session_retrieve(*, session_id: str) -> Plain:
    session: Plain = call("session_retrieve", lambda client: client.v1.checkout.sessions.retrieve(session_id))
    return session


def session_expire(*, session_id: str) -> Plain:
    """Closes an open session, so that nobody can pay it any more. Refused when it is complete."""
    session: Plain = call("session_expire", lambda client: client.v1.checkout.sessions.expire(session_id))
    return session


def session_find(*, customer_id: str, client_reference_id: str, created_from_s: int) -> Plain | None:
    """The newest session of a row of ours, for rows older than the life of their idempotency key: look before asking
    again, because a new session would be a second one that can be paid."""

    def search(client: stripe.StripeClient) -> Plain | None:
        listed = client.v1.checkout.sessions.list(
            {"customer": customer_id, "created": {"gte": created_from_s}, "limit": 100}
        )
        for number, session in enumerate(listed.auto_paging_iter()):
            if session.client_reference_id == client_reference_id:
                return session.to_dict(for_json=True)
            if number >= SESSIONS_SEARCHED_MAX:
                break
        return None

    found: Plain | None = call("session_find", search)
    return found


def portal_session_create(*, customer_id: str, configuration_id: str, return_url: str) -> Plain:
    session: Plain = call(
        "portal_session_create",
        lambda client: client.v1.billing_portal.sessions.create(
            {"customer": customer_id, "configuration": configuration_id, "return_url": return_url}
        ),
    )
    return session
