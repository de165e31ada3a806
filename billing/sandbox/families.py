"""The families of objects that the stand-in models. Importing one enters its routes into the table."""

import importlib

# The order matters where two families listen to one signal: an invoice is marked paid before its subscription and its
# session hear of the payment.
FAMILIES = (
    "customers",
    "catalogue",
    "payment_methods",
    "balance",
    "charges",
    "payments",
    "invoices",
    "invoice_routes",
    "subscriptions",
    "renewals",
    "plan_changes",
    "subscription_routes",
    "promotions",
    "checkout",
    "checkout_pay",
    "portal",
    "refunds",
    "disputes",
    "meters",
    "test_clocks",
    "event_routes",
)


def load() -> None:
    for name in FAMILIES:
        importlib.import_module(f"billing.sandbox.{name}")
