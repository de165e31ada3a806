"""L10 by several processes: one message that arrives eight times at once, and eight workers that take it up at once."""

import http.client
import os
import threading

import pytest

from billing.models import LedgerEntry, StripeEvent, TopUp
from billing.stripe_events import TYPES
from tests.support.inbox import NO_KEYS, NO_TURNS, inbox_rush
from tests.support.money import wallet_of
from tests.support.service import Service
from tests.support.stripe import differences, receive, shop, topup_pay

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]

AT_ONCE = 8
CREDIT_MICROUSD = 10_000_000


@pytest.fixture
def stripe(alice, settings, child_database, monkeypatch):
    """The stand-in, known to the processes that a test starts."""
    with shop(settings) as running:
        monkeypatch.setenv("BILLING_PROVIDER", "sandbox")
        monkeypatch.setenv("STRIPE_API_BASE", running.base_url)
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRETS", "whsec_sandbox")
        yield running


@pytest.fixture
def web(stripe, tmp_path):
    """Two processes of the web server on the database of this test."""
    names = ("DATABASE_URL", "BILLING_PROVIDER", "STRIPE_API_BASE", "STRIPE_WEBHOOK_SECRETS")
    service = Service(tmp_path, env={"WEB_PROCESSES": "2", **{name: os.environ[name] for name in names}})
    try:
        service.start("web")
        service.wait_live()
        yield service
    finally:
        service.discard()


def post_at_once(service, stripe, event):
    """The statuses of eight deliveries that start at the same moment."""
    body, signature = stripe.webhooks.body_and_signature(event)
    statuses, start = [], threading.Barrier(AT_ONCE)

    def post():
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.connect()
        start.wait()
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
        connection.request("POST", "/stripe/webhook", body, headers)
        statuses.append(connection.getresponse().status)
        connection.close()

    senders = [threading.Thread(target=post) for _ in range(AT_ONCE)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return statuses


def credits():
    return list(LedgerEntry.objects.filter(kind="top_up").values_list("amount_microusd", flat=True))


@pytest.mark.proves("L10")
def test_eight_deliveries_of_each_message_at_once_credit_once(alice, stripe, web):
    topup_pay(stripe, alice.account)
    events = [event for event in stripe.events if event["type"] in TYPES]
    for event in events:
        assert post_at_once(web, stripe, event) == [200] * AT_ONCE
    assert sorted(StripeEvent.objects.values_list("event_id", flat=True)) == sorted(event["id"] for event in events)
    assert sum(inbox_rush(processes=AT_ONCE)) == len(events)
    assert credits() == [CREDIT_MICROUSD]
    assert wallet_of(alice.account).balance_microusd == CREDIT_MICROUSD
    assert differences() == []


@pytest.mark.proves("L10")
@pytest.mark.parametrize("mistake", ["", NO_TURNS])
def test_eight_workers_on_messages_that_tell_one_fact_credit_once(alice, stripe, mistake):
    """By the account's turn, and without it by the ledger's key alone: either is enough."""
    tell_of_one_payment_often(alice, stripe)
    inbox_rush(processes=AT_ONCE, mistake=mistake)
    assert StripeEvent.objects.exclude(state="done").count() == 0
    assert credits() == [CREDIT_MICROUSD]
    assert differences() == []


@pytest.mark.control("L10")
def test_without_turns_and_keys_eight_workers_credit_more_than_once(alice, stripe):
    tell_of_one_payment_often(alice, stripe)
    inbox_rush(processes=AT_ONCE, mistake=NO_KEYS)
    assert len(credits()) > 1
    assert differences() != []


def tell_of_one_payment_often(member, stripe):
    """Forty messages about the same session, each with an id of its own."""
    topup_pay(stripe, member.account)
    told = next(event for event in stripe.events if event["type"] == "checkout.session.completed")
    receive(stripe, [told | {"id": f"{told['id']}_{number}"} for number in range(40)])
    assert TopUp.objects.get().state == "open"
