"""The steps that scenarios are made of: a shop with a customer, prices and sessions, through the real stripe-python."""

from typing import Any

import stripe as library

from billing.sandbox import SandboxStripe

API_VERSION = "2026-10-28.endive"
SUCCESS_URL = "http://shop.test/done?session={CHECKOUT_SESSION_ID}"
CANCEL_URL = "http://shop.test/cancelled"


def real_client(
    sandbox: SandboxStripe, *, key: str | None = None, retries: int = 2, timeout_s: float = 5
) -> library.StripeClient:
    return library.StripeClient(
        key or sandbox.api_key,
        max_network_retries=retries,
        stripe_version=API_VERSION,
        base_addresses=sandbox.base_addresses,
        http_client=library.RequestsClient(timeout=timeout_s),
    )


class Shop:
    """What a seller does with Stripe."""

    def __init__(self, sandbox: SandboxStripe, client: library.StripeClient) -> None:
        self.sandbox = sandbox
        self.v1 = client.v1

    def customer(self, **params: Any) -> str:
        return self.v1.customers.create({"email": "alice@example.com", "metadata": {"account": "7"}, **params}).id

    def price(self, cents: int = 4700, name: str = "Standard", **params: Any) -> str:
        product = self.v1.products.create({"name": name})
        given = {
            "product": product.id,
            "currency": "usd",
            "unit_amount": cents,
            "recurring": {"interval": "month"},
            **params,
        }
        return self.v1.prices.create(given).id

    def topup(
        self, customer: str, cents: int = 1000, *, key: str | None = None, **params: Any
    ) -> library.checkout.Session:
        line = {
            "quantity": 1,
            "price_data": {"currency": "usd", "unit_amount": cents, "product_data": {"name": "Funds"}},
        }
        given = {
            "mode": "payment",
            "customer": customer,
            "client_reference_id": "topup-1",
            "line_items": [line],
            "metadata": {"topup": "1"},
            "payment_intent_data": {"metadata": {"topup": "1"}, "setup_future_usage": "off_session"},
            "adaptive_pricing": {"enabled": False},
            "success_url": SUCCESS_URL,
            "cancel_url": CANCEL_URL,
            **params,
        }
        return self.v1.checkout.sessions.create(given, {"idempotency_key": key} if key else None)

    def plan(self, customer: str, price: str, **params: Any) -> library.checkout.Session:
        given = {
            "mode": "subscription",
            "customer": customer,
            "line_items": [{"price": price, "quantity": 1}],
            "subscription_data": {"metadata": {"account": "7"}},
            "success_url": SUCCESS_URL,
            **params,
        }
        return self.v1.checkout.sessions.create(given)

    def session(self, session: str) -> library.checkout.Session:
        return self.v1.checkout.sessions.retrieve(session)

    def subscribed(self, customer: str, price: str, method: str = "card") -> str:
        """A customer who went through Checkout; the subscription's id."""
        session = self.plan(customer, price)
        assert self.sandbox.pay(session=session.id, method=method) == "complete"
        return self.session(session.id).subscription

    def saved_card(self, customer: str, name: str = "pm_card_visa") -> str:
        method = self.v1.payment_methods.attach(name, {"customer": customer})
        self.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method.id}})
        return method.id

    def subscription(self, subscription: str) -> dict[str, Any]:
        return self.v1.subscriptions.retrieve(subscription).to_dict()


def invoices(shop: Shop, subscription: str) -> list[tuple[str, str, int]]:
    found = shop.v1.invoices.list({"subscription": subscription}).data
    return [(invoice.billing_reason, invoice.status, invoice.total) for invoice in reversed(found)]
