"""A running stand-in Stripe that the product's own client speaks to."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing import stripe_client
from billing.sandbox import SandboxStripe
from billing.stripe_client import StripeConfig
from tests.billing.stripe_client.calls import START


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
