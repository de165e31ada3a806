"""Rules between the settings of payments, told before the service starts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from billing.stripe_client.connection import LIVE_PREFIXES

PROVIDERS = ("", "stripe", "sandbox")


@register("payments")
def payments(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    provider, live = settings.BILLING_PROVIDER, settings.STRIPE_API_KEY.startswith(LIVE_PREFIXES)
    if provider not in PROVIDERS:
        found.append(Error(f"BILLING_PROVIDER is {provider!r}.", hint="One of: stripe, sandbox.", id="billing.E001"))
    if provider == "sandbox" and live:
        hint = "Remove BILLING_PROVIDER=sandbox, or the key."
        found.append(Error("The payment sandbox stands beside a live Stripe key.", hint=hint, id="billing.E002"))
    if provider == "sandbox" and not settings.STRIPE_API_BASE:
        hint = "Set STRIPE_API_BASE to the sandbox's address."
        found.append(Error("The payment sandbox has no address.", hint=hint, id="billing.E003"))
    if provider != "sandbox" and settings.STRIPE_API_BASE and live:
        found.append(
            Error("A live Stripe key is sent to Stripe alone.", hint="Remove STRIPE_API_BASE.", id="billing.E004")
        )
    if settings.STRIPE_API_KEY and not any(secret.strip() for secret in settings.STRIPE_WEBHOOK_SECRETS):
        hint = "Without one, payments are only found by asking every few minutes: set STRIPE_WEBHOOK_SECRETS."
        found.append(Warning("Stripe has no webhook secret.", hint=hint, id="billing.W001"))
    return found
