"""Webhooks: signed as Stripe signs, repeated until accepted, listed when nobody took them, disturbed on purpose."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import stripe as library
from django.utils import timezone

from billing.sandbox import WEBHOOK_SECRET, SandboxStripe
from billing.sandbox.delivery import sign
from tests.billing.sandbox.conftest import Clock
from tests.billing.sandbox.flows import API_VERSION, Shop, real_client


class Inbox:
    """An endpoint that verifies what it gets with the real library."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.events: list[library.Event] = []

    def __call__(self, body: bytes, signature: str) -> int:
        self.events.append(library.Webhook.construct_event(body, signature, WEBHOOK_SECRET))
        return self.answers.pop(0) if self.answers else 200

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def told(start: Callable[..., SandboxStripe], inbox: Inbox) -> Iterator[Shop]:
    stripe = start(webhook=inbox)
    yield Shop(stripe, real_client(stripe))
    assert stripe.faults == []


def test_the_real_library_verifies_every_event(told: Shop, inbox: Inbox):
    session = told.topup(told.customer())
    told.sandbox.pay(session=session.id)
    attempts = told.sandbox.deliver()
    assert [attempt.status for attempt in attempts] == [200] * len(attempts)
    assert inbox.types == told.sandbox.event_types
    last = inbox.events[-1]
    assert (last.type, last.api_version, last.livemode) == ("checkout.session.completed", API_VERSION, False)
    assert (last.data.object.id, last.data.object.payment_status) == (session.id, "paid")
    assert told.sandbox.deliver() == []


def test_an_event_names_the_request_that_caused_it(told: Shop):
    told.topup(told.customer(), key="topup-1")
    event = told.sandbox.events[-1]
    assert event["request"] == {"id": told.sandbox.requests[-1].id, "idempotency_key": "topup-1"}


def test_the_data_of_an_event_is_frozen(told: Shop):
    customer = told.customer(name="Alice")
    told.v1.customers.update(customer, {"name": "Alicia"})
    created, updated = told.sandbox.events
    assert created["data"]["object"]["name"] == "Alice"
    assert updated["data"]["previous_attributes"] == {"name": "Alice"}
    assert told.v1.events.retrieve(created["id"]).data.object.name == "Alice"


@pytest.mark.parametrize("secret", ["whsec_other", ""])
def test_a_wrong_secret_does_not_verify(told: Shop, secret: str):
    told.customer()
    body, signature = told.sandbox.webhooks.body_and_signature(told.sandbox.events[0])
    with pytest.raises(library.SignatureVerificationError):
        library.Webhook.construct_event(body, signature, secret)


def test_while_a_secret_is_rotated_both_verify(start: Callable[..., SandboxStripe]):
    stripe = start(secrets=("whsec_old", "whsec_new"))
    Shop(stripe, real_client(stripe)).customer()
    body, signature = stripe.webhooks.body_and_signature(stripe.events[0])
    for secret in ("whsec_old", "whsec_new"):
        assert library.Webhook.construct_event(body, signature, secret).type == "customer.created"


def test_the_signature_is_the_one_that_the_library_makes():
    expected = library.WebhookSignature.generate_signature_header("{}", "whsec_x", 1_700_000_000)
    assert sign("{}", ["whsec_x"], 1_700_000_000) == expected


def test_an_old_signature_does_not_verify(told: Shop):
    told.customer()
    signed_at = int(timezone.now().timestamp()) - 360
    body, signature = told.sandbox.webhooks.body_and_signature(told.sandbox.events[0], timestamp=signed_at)
    with pytest.raises(library.SignatureVerificationError, match="tolerance"):
        library.Webhook.construct_event(body, signature, WEBHOOK_SECRET)


def test_what_was_not_accepted_stays_undelivered_and_is_sent_again(told: Shop, inbox: Inbox):
    inbox.answers = [500, 200]
    told.customer()
    told.customer()
    told.sandbox.deliver()
    undelivered = told.v1.events.list({"delivery_success": False}).data
    assert [event.id for event in undelivered] == [told.sandbox.events[0]["id"]]
    told.sandbox.deliver()
    assert told.v1.events.list({"delivery_success": False}).data == []
    assert [event.id for event in inbox.events] == [told.sandbox.events[number]["id"] for number in (0, 1, 0)]


def test_events_are_listed_by_type_and_only_for_thirty_days(told: Shop, clock: Clock):
    customer = told.customer()
    told.topup(customer)
    listed = told.v1.events.list({"types": ["customer.created", "price.created"]}).data
    assert [event.type for event in listed] == ["price.created", "customer.created"]
    assert [event.type for event in told.v1.events.list({"type": "product.*"}).data] == ["product.created"]
    older = told.v1.events.list({"ending_before": listed[-1].id})
    assert [event.type for event in older.data] == ["price.created", "product.created"]
    clock.seconds += 30 * 86_400 + 1
    told.v1.customers.update(customer, {"name": "Alice"})
    assert [event.type for event in told.v1.events.list({}).data] == ["checkout.session.expired", "customer.updated"][
        ::-1
    ]


def test_deliveries_are_repeated_dropped_and_shuffled_by_seed(start: Callable[..., SandboxStripe]):
    def received(seed: int) -> list[str]:
        inbox = Inbox()
        stripe = start(seed=seed, webhook=inbox)
        stripe.webhooks.disturbance.duplicates = 1
        stripe.webhooks.disturbance.drop = 0.3
        stripe.webhooks.disturbance.shuffle = True
        session = Shop(stripe, real_client(stripe)).topup(Shop(stripe, real_client(stripe)).customer())
        stripe.pay(session=session.id)
        stripe.deliver()
        return inbox.types

    first = received(1)
    assert first == received(1)
    assert first != received(2)
    assert len(first) != len(set(first))


def test_only_wanted_types_are_sent(start: Callable[..., SandboxStripe]):
    inbox = Inbox()
    stripe = start(webhook=inbox, types=frozenset({"checkout.session.completed"}))
    shop = Shop(stripe, real_client(stripe))
    stripe.pay(session=shop.topup(shop.customer()).id)
    stripe.deliver()
    assert inbox.types == ["checkout.session.completed"]


class _Endpoint(BaseHTTPRequestHandler):
    received: list[str] = []
    failures = 2

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        library.Webhook.construct_event(body, self.headers["Stripe-Signature"], WEBHOOK_SECRET)
        self.received.append(json.loads(body)["type"])
        self.send_response(503 if len(self.received) <= self.failures else 200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    _Endpoint.received.clear()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_in_the_background_events_reach_a_url_and_are_retried(
    endpoint: HTTPServer, start: Callable[..., SandboxStripe]
):
    stripe = start(webhook=f"http://127.0.0.1:{endpoint.server_port}/webhooks/stripe", automatic=True)
    stripe.webhooks.retry_delays_s = (0.02, 0.02)
    Shop(stripe, real_client(stripe)).customer()
    deadline = time.monotonic() + 5
    while stripe.webhooks.pending() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert stripe.webhooks.pending() == []
    assert _Endpoint.received == ["customer.created"] * 3


def test_an_endpoint_that_is_away_gets_its_events_on_the_next_start(
    endpoint: HTTPServer, start: Callable[..., SandboxStripe], tmp_path
):
    state = tmp_path / "stripe.json"
    first = start(state_file=state, webhook="http://127.0.0.1:9/webhooks")
    Shop(first, real_client(first)).customer()
    assert [attempt.status for attempt in first.deliver()] == [0]
    first.stop()
    _Endpoint.received.extend(["earlier"] * _Endpoint.failures)
    second = start(state_file=state, webhook=f"http://127.0.0.1:{endpoint.server_port}/webhooks", automatic=True)
    deadline = time.monotonic() + 5
    while second.webhooks.pending() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _Endpoint.received[-1] == "customer.created"
