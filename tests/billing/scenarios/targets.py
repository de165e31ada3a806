"""Where the scenarios are played: at the stand-in, always, and at Stripe's test mode, for whoever has a key.

Both speak the same API through the same library. Only paying at the provider's page differs: the stand-in is asked to,
and at Stripe a browser fills the page in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import stripe as library
from django.utils import timezone

from billing import stripe_client
from billing.models import EventCursor, StripeCustomer
from billing.reconcile import reconcile
from billing.sandbox import SandboxStripe
from billing.stripe_client import StripeConfig
from tests.support.stripe import process, shop

KEY = "STRIPE_TEST_KEY"
TEST_PREFIXES = ("sk_test_", "rk_test_")
API_VERSION = "2026-10-28.endive"
CARD = {"#cardNumber": "4242424242424242", "#cardExpiry": "12 / 34", "#cardCvc": "123", "#billingName": "Alice Test"}


def key_of_test_mode() -> str:
    """The key of the environment, empty without one. Raises ValueError for any but a test key: no scenario may ever
    meet money."""
    key = os.environ.get(KEY, "").strip()
    if key and not key.startswith(TEST_PREFIXES):
        raise ValueError(f"{KEY} must begin with {' or '.join(TEST_PREFIXES)}: a live key is never used here.")
    return key


@dataclass
class Target:
    """One provider under test. `wait_s` is how long its facts may take to show."""

    mode: str
    v1: Any
    pay: Callable[[str], None]
    wait_s: float
    clocks: list[str] = field(default_factory=list)
    customers: list[str] = field(default_factory=list)

    def customer(self, member: Any, *, card: str = "pm_card_visa", clock: bool = False) -> str:
        """The member's customer with a saved card; with a clock its time passes as `advance` says."""
        now = timezone.now()
        made = {"email": member.user.email, "metadata": {"account": str(member.account.pk)}}
        if clock:
            self.clocks.append(self.v1.test_helpers.test_clocks.create({"frozen_time": int(now.timestamp())}).id)
            made["test_clock"] = self.clocks[-1]
        customer_id = str(self.v1.customers.create(made).id)
        self.customers.append(customer_id)
        StripeCustomer.objects.create(account=member.account, mode=self.mode, stripe_id=customer_id, created_at=now)
        self.card_becomes(customer_id, card)
        return customer_id

    def card_becomes(self, customer_id: str, card: str) -> None:
        method = self.v1.payment_methods.attach(card, {"customer": customer_id})
        self.v1.customers.update(customer_id, {"invoice_settings": {"default_payment_method": method.id}})

    def advance(self, *, days: int) -> None:
        """The newest clock's time, with all that falls due on the way."""
        clock = self.v1.test_helpers.test_clocks.retrieve(self.clocks[-1])
        self.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": clock.frozen_time + days * 86_400})
        self._wait(
            lambda: self.v1.test_helpers.test_clocks.retrieve(clock.id).status == "ready", "the clock", lambda: None
        )

    def until(self, done: Callable[[], bool], what: str) -> None:
        """As an installation without a webhook learns of it: by the reconciler's runs."""
        self._wait(done, what, _look)

    def _wait(self, done: Callable[[], bool], what: str, between: Callable[[], None]) -> None:
        deadline = time.monotonic() + self.wait_s
        between()
        while not done():
            assert time.monotonic() < deadline, f"waited {self.wait_s} s in vain for {what}"
            time.sleep(self.wait_s / 100)
            between()

    def clean_up(self) -> None:
        """Customers of a clock go with it."""
        for clock in self.clocks:
            self.v1.test_helpers.test_clocks.delete(clock)
        for customer_id in self.customers:
            try:
                self.v1.customers.delete(customer_id)
            except library.InvalidRequestError:
                continue


def _look() -> None:
    reconcile(now=timezone.now() + timedelta(minutes=5))
    process()


@contextmanager
def at_the_stand_in(settings: Any) -> Iterator[Target]:
    with shop(settings) as stripe:
        client = library.StripeClient(stripe.api_key, stripe_version=API_VERSION, base_addresses=stripe.base_addresses)
        yield Target("sandbox", client.v1, lambda session_id: _pay_at(stripe, session_id), 5.0)


def _pay_at(stripe: SandboxStripe, session_id: str) -> None:
    assert stripe.pay(session=session_id) == "complete"


@contextmanager
def at_stripe(settings: Any, key: str) -> Iterator[Target]:
    """Stripe's test mode: no money moves, but requests leave this machine."""
    settings.BILLING_PROVIDER = "stripe"
    settings.STRIPE_API_KEY = key
    settings.STRIPE_API_BASE = ""
    EventCursor.objects.create(mode="test", read_until=timezone.now())
    client = library.StripeClient(key, stripe_version=API_VERSION, max_network_retries=2)
    target = Target("test", client.v1, _fill_in, 300.0)
    with stripe_client.connected(StripeConfig(key)):
        try:
            yield target
        finally:
            target.clean_up()


def _fill_in(session_id: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        page = playwright.chromium.launch().new_page(locale="en-US")
        page.set_default_timeout(60_000)
        page.goto(str(stripe_client.session_retrieve(session_id=session_id)["url"]))
        choice = page.get_by_test_id("card-accordion-item-button")
        if choice.count():  # where the account offers more than cards
            choice.first.click(force=True)
        for name, text in CARD.items():
            page.locator(name).fill(text)
        if page.locator("#billingPostalCode").count():
            page.locator("#billingPostalCode").fill("12345")
        page.get_by_test_id("hosted-payment-submit-button").click()
        page.wait_for_url(lambda url: "stripe.com" not in url, wait_until="commit")
