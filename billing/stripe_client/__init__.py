"""The only importer of Stripe's library: small typed calls that return plain dicts and raise billing's own errors.

It must not know the ledger, and no call may be made inside a database transaction. Field names and rules: Stripe's API
version 2026-10-28.endive, the one that the installed stripe-python was made for.

The library enters by this one import; the modules beside this file take it from here, so that the rule "only
billing.stripe_client imports stripe" is one line that a tool can check.
"""

import stripe as stripe

from billing.stripe_client.catalogue import (
    meter_ensure,
    meter_find,
    metered_price_create,
    portal_configuration_ensure,
    price_create,
    price_find_by_lookup_key,
    product_create,
)
from billing.stripe_client.checkout import (
    checkout_setup_create,
    checkout_subscription_create,
    checkout_topup_create,
    portal_session_create,
    session_expire,
    session_find,
    session_retrieve,
)
from billing.stripe_client.connection import API_VERSION, StripeConfig, connected, current_config, is_configured
from billing.stripe_client.objects import (
    balance_transactions_list,
    charge_retrieve,
    customer_create,
    customer_delete,
    dispute_retrieve,
    events_list,
    invoice_payments_list,
    invoice_retrieve,
    invoices_list,
    meter_event_cancel,
    meter_event_create,
    meter_usage_retrieve,
    payment_intent_create_off_session,
    payment_intent_find,
    payment_intent_retrieve,
    payment_method_default_set,
    payment_methods_list,
    refund_create,
    refund_retrieve,
    subscription_cancel,
    subscription_create_metered,
    subscription_ends_set,
    subscription_retrieve,
    subscriptions_list,
)
from billing.stripe_client.webhook import WebhookRejected, webhook_construct

__all__ = [
    "API_VERSION",
    "StripeConfig",
    "WebhookRejected",
    "balance_transactions_list",
    "charge_retrieve",
    "checkout_setup_create",
    "checkout_subscription_create",
    "checkout_topup_create",
    "connected",
    "current_config",
    "customer_create",
    "customer_delete",
    "dispute_retrieve",
    "events_list",
    "invoice_payments_list",
    "invoice_retrieve",
    "invoices_list",
    "is_configured",
    "meter_ensure",
    "meter_event_cancel",
    "meter_event_create",
    "meter_find",
    "meter_usage_retrieve",
    "metered_price_create",
    "payment_intent_create_off_session",
    "payment_intent_find",
    "payment_intent_retrieve",
    "payment_method_default_set",
    "payment_methods_list",
    "portal_configuration_ensure",
    "portal_session_create",
    "price_create",
    "price_find_by_lookup_key",
    "product_create",
    "refund_create",
    "refund_retrieve",
    "session_expire",
    "session_find",
    "session_retrieve",
    "subscription_cancel",
    "subscription_create_metered",
    "subscription_ends_set",
    "subscription_retrieve",
    "subscriptions_list",
    "webhook_construct",
]
