"""Every knob of the stand-in that makes trouble, turned alone: what the client sees, and what was done all the same."""

import json
import threading
import time
from dataclasses import fields

import pytest
import stripe as library

from billing.sandbox.delivery import Disturbance
from billing.sandbox.trouble import KINDS
from tests.billing.sandbox.flows import real_client

SECONDS = 0.4
# What the client is told (None: all is well), and how many customers there are afterwards.
EXPECTED = {
    "refuse": (library.APIConnectionError, 0),
    "error": (library.APIError, 0),
    "unavailable": (library.APIError, 0),
    "rate_limit": (library.RateLimitError, 0),
    "conflict": (library.APIError, 0),
    "forbidden": (library.PermissionError, 0),
    "unauthorized": (library.AuthenticationError, 0),
    "hang": (library.APIConnectionError, 0),
    "error_after_commit": (library.APIError, 1),
    "drop_after_commit": (library.APIConnectionError, 1),
    "hang_after_commit": (library.APIConnectionError, 1),
    "delay": (None, 1),
}
TWO = ["customer.created", "customer.updated"]


def test_no_knob_is_left_out():
    assert set(EXPECTED) == set(KINDS)
    assert {field.name for field in fields(Disturbance)} == {"duplicates", "drop", "shuffle", "delay_s"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_suffers_it_once_and_the_next_one_is_well(stripe, kind):
    customers = real_client(stripe, retries=0, timeout_s=20).v1.customers
    error, made = EXPECTED[kind]
    stripe.trouble.add(kind, method="POST", path="/v1/customers", seconds=SECONDS)
    start = time.monotonic()
    if error is None:
        customers.create({})
    else:
        with pytest.raises(error):
            customers.create({})
    took_s = time.monotonic() - start
    assert ("hang" in kind or kind == "delay") <= (took_s >= SECONDS)
    assert len(stripe.world.all("customer")) == made
    customers.create({})
    assert len(stripe.world.all("customer")) == made + 1


def delivered(start, **disturbance):
    """The types that arrive of a customer's creation and one change."""
    heard = []

    def hear(body, signature):
        heard.append(json.loads(body)["type"])
        return 200

    stripe = start(seed=5, webhook=hear)
    for name, value in disturbance.items():
        setattr(stripe.webhooks.disturbance, name, value)
    customers = real_client(stripe).v1.customers
    customers.update(customers.create({}).id, {"name": "Alice"})
    stripe.deliver()
    return heard


class TestDeliveries:
    def test_undisturbed_each_arrives_once_in_order(self, start):
        """The control of the others."""
        assert delivered(start) == TWO

    def test_duplicates(self, start):
        assert delivered(start, duplicates=2) == [kind for kind in TWO for _ in range(3)]

    def test_drop(self, start):
        assert delivered(start, drop=1.0) == []

    def test_shuffle(self, start):
        heard = delivered(start, duplicates=5, shuffle=True)
        assert sorted(heard) == sorted(TWO * 6)
        assert heard != [kind for kind in TWO for _ in range(6)]

    def test_delay(self, start):
        arrived = threading.Event()
        stripe = start(automatic=True, webhook=lambda body, signature: arrived.set() or 200)
        stripe.webhooks.disturbance.delay_s = SECONDS
        begun = time.monotonic()
        real_client(stripe).v1.customers.create({})
        assert arrived.wait(30)
        assert time.monotonic() - begun >= SECONDS


def test_the_clock_advances_and_what_falls_due_happens(stripe, shop):
    session = shop.topup(shop.customer())
    before = stripe.world.now()
    stripe.advance(days=2)
    assert stripe.world.now() - before == 2 * 86_400
    assert shop.v1.checkout.sessions.retrieve(session.id).status == "expired"
