"""What the set-up command needs: products, prices, the portal's configuration, meters. Found, or else created."""

from __future__ import annotations

import hashlib
import json

from billing.money import CENTS_PER_MICROUSD
from billing.stripe_client.connection import Plain, call
from billing.stripe_client.library import stripe

Products = dict[str, list[str]]  # product id -> the prices among which its buyers may switch
PORTAL_KEY = "configuration"


def product_create(*, name: str, plan: str, idempotency_key: str) -> Plain:
    product: Plain = call(
        "product_create",
        lambda client: client.v1.products.create(
            {"name": name, "metadata": {"plan": plan}}, {"idempotency_key": idempotency_key}
        ),
    )
    return product


def price_find_by_lookup_key(*, lookup_key: str) -> Plain | None:
    found: Plain = call(
        "price_find_by_lookup_key",
        lambda client: client.v1.prices.list({"lookup_keys": [lookup_key], "active": True, "limit": 1}),
    )
    return found["data"][0] if found["data"] else None


def price_create(
    *,
    product_id: str,
    lookup_key: str,
    amount_cents: int,
    idempotency_key: str,
    currency: str = "usd",
    takes_over_lookup_key: bool = False,
) -> Plain:
    """A monthly price. Amounts never change: a new amount is a new price that takes the lookup key over."""
    price: Plain = call(
        "price_create",
        lambda client: client.v1.prices.create(
            {
                "product": product_id,
                "currency": currency,
                "unit_amount": amount_cents,
                "recurring": {"interval": "month"},
                "lookup_key": lookup_key,
                "transfer_lookup_key": takes_over_lookup_key,
            },
            {"idempotency_key": idempotency_key},
        ),
    )
    return price


def portal_configuration_ensure(*, products: Products, return_url: str) -> Plain:
    """The portal's configuration for these products: the one made before, else a new one.

    Upgrades are billed at once for the rest of the period, downgrades wait for its end, cancelling too."""
    wanted = json.dumps([sorted((product, sorted(prices)) for product, prices in products.items()), return_url])
    fingerprint = hashlib.sha256(wanted.encode()).hexdigest()[:32]
    listed = call(
        "portal_configuration_ensure",
        lambda client: client.v1.billing_portal.configurations.list({"active": True, "limit": 100}),
    )
    for configuration in listed["data"]:
        if (configuration.get("metadata") or {}).get(PORTAL_KEY) == fingerprint:
            found: Plain = configuration
            return found
    created: Plain = call(
        "portal_configuration_ensure",
        lambda client: client.v1.billing_portal.configurations.create(
            {
                "features": _portal_features(products),
                "default_return_url": return_url,
                "metadata": {PORTAL_KEY: fingerprint},
            },
            {"idempotency_key": f"portal-{fingerprint}"},
        ),
    )
    return created


def _portal_features(products: Products) -> stripe.params.billing_portal.ConfigurationCreateParamsFeatures:
    return {
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        "subscription_update": {
            "enabled": bool(products),
            "default_allowed_updates": ["price"],
            "proration_behavior": "always_invoice",
            "products": [{"product": product, "prices": prices} for product, prices in products.items()],
            "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
        },
    }


def metered_price_create(*, product_id: str, lookup_key: str, meter_id: str, idempotency_key: str) -> Plain:
    """A monthly price of what a meter counts, in micro-dollars."""
    price: Plain = call(
        "metered_price_create",
        lambda client: client.v1.prices.create(
            {
                "product": product_id,
                "currency": "usd",
                "unit_amount_decimal": CENTS_PER_MICROUSD,
                "recurring": {"interval": "month", "usage_type": "metered", "meter": meter_id},
                "lookup_key": lookup_key,
            },
            {"idempotency_key": idempotency_key},
        ),
    )
    return price


def meter_find(*, event_name: str) -> Plain | None:
    """The active meter of an event name."""
    listed = call("meter_find", lambda client: client.v1.billing.meters.list({"status": "active", "limit": 100}))
    return next((meter for meter in listed["data"] if meter["event_name"] == event_name), None)


def meter_ensure(*, event_name: str, display_name: str) -> Plain:
    """The active meter of an event name, created when absent."""
    if (found := meter_find(event_name=event_name)) is not None:
        return found
    created: Plain = call(
        "meter_ensure",
        lambda client: client.v1.billing.meters.create(
            {
                "display_name": display_name,
                "event_name": event_name,
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            },
            {"idempotency_key": f"meter-{event_name}"},
        ),
    )
    return created
