"""L11: forgery is inert. A body is believed only when Stripe signed it just now, for this installation's mode."""

import json
import logging

import pytest
from django.utils import timezone

from billing.models import LedgerEntry, StripeEvent
from billing.sandbox.delivery import sign
from tests.support.money import wallet_of
from tests.support.stripe import process, topup_pay

ADDRESS = "/stripe/webhook"


@pytest.fixture
def event(alice, stripe):
    topup_pay(stripe, alice.account)
    return next(event for event in stripe.events if event["type"] == "checkout.session.completed")


@pytest.fixture
def post(client, monkeypatch):
    monkeypatch.setattr("gateway.stripe_webhook.stripe_events_process.delay", lambda: None)

    def send(body, *, secret="whsec_sandbox", at=None, signature=None):
        text = body if isinstance(body, str) else json.dumps(body)
        moment = int(timezone.now().timestamp()) if at is None else at
        header = sign(text, [secret], moment) if signature is None else signature
        return client.post(
            ADDRESS, text, content_type="application/json", headers={"Stripe-Signature": header} if header else {}
        )

    return send


def now_s():
    return int(timezone.now().timestamp())


def nothing_changed():
    return not StripeEvent.objects.exists() and not LedgerEntry.objects.exists()


def test_a_signed_event_is_taken_once_and_credits(alice, event, post):
    """The control of all that follows."""
    assert [post(event).status_code for _ in range(3)] == [200, 200, 200]
    process()
    assert StripeEvent.objects.count() == 1
    assert wallet_of(alice.account).balance_microusd == 10_000_000


FORGERIES = {
    "no signature": lambda post, event: post(event, signature=""),
    "a wrong secret": lambda post, event: post(event, secret="whsec_guess"),
    "an empty secret": lambda post, event: post(event, secret=""),
    "no header's form": lambda post, event: post(event, signature="v1=abc"),
    "six minutes old": lambda post, event: post(event, at=now_s() - 360),
    "a day ahead": lambda post, event: post(event, at=now_s() + 86_400),
    "the other mode": lambda post, event: post(event | {"livemode": True}),
    "a thin body": lambda post, event: post({"id": "evt_1", "object": "v2.core.event"}),
    "no JSON": lambda post, event: post("{"),
    "another body": lambda post, event: post(
        json.dumps(event | {"id": "evt_forged"}), signature=sign(json.dumps(event), ["whsec_sandbox"], now_s())
    ),
}


@pytest.mark.proves("L11")
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_changes_no_row_and_tells_no_secret(alice, event, post, forgery, caplog):
    caplog.set_level(logging.DEBUG)
    assert FORGERIES[forgery](post, event).status_code == 400
    assert nothing_changed()
    assert "whsec" not in caplog.text


@pytest.mark.control("L11")
def test_without_the_check_of_the_signature_a_forgery_would_credit(alice, event, post, monkeypatch):
    monkeypatch.setattr("billing.stripe_client.webhook._check_signature", lambda *_: None)
    assert post(event, secret="whsec_guess").status_code == 200
    process()
    assert wallet_of(alice.account).balance_microusd == 10_000_000


@pytest.mark.proves("L11")
@pytest.mark.parametrize("secrets", [[], [""], ["  "]])
def test_without_a_secret_there_is_no_such_address(alice, event, post, settings, secrets):
    from billing import stripe_client
    from billing.stripe_client import StripeConfig

    with stripe_client.connected(StripeConfig("sk_test_sandbox", tuple(s for s in secrets if s.strip()))):
        assert post(event, secret="").status_code == 404
    assert nothing_changed()


def test_without_a_key_there_is_no_such_address(client, db, settings):
    settings.STRIPE_API_KEY = settings.BILLING_PROVIDER = ""
    assert client.get(ADDRESS).status_code == 404
    assert client.post(ADDRESS, "{}", content_type="application/json").status_code == 404


def test_an_oversized_body_is_refused_unread(alice, event, post):
    assert post(event | {"padding": "x" * 600_000}).status_code == 413
    assert nothing_changed()


def test_either_of_two_secrets_is_good_while_one_is_replaced(alice, event, post, stripe):
    from billing import stripe_client
    from billing.stripe_client import StripeConfig

    config = StripeConfig(stripe.api_key, ("whsec_new", "whsec_sandbox"), api_base=stripe.base_url)
    with stripe_client.connected(config):
        assert post(event, secret="whsec_new").status_code == 200
        assert post(event | {"id": "evt_2"}).status_code == 200


@pytest.mark.proves("L11")
def test_events_about_strangers_are_kept_and_do_nothing(alice, charlie, event, post, stripe):
    """A session of another account's customer with our top-up's reference."""
    about = event["data"]["object"]
    post(event | {"id": "evt_stranger", "data": {"object": about | {"amount_subtotal": 10**9, "amount_total": 10**9}}})
    process()
    assert wallet_of(alice.account).balance_microusd == 10_000_000, "the amount of the body is never read"
    assert wallet_of(charlie.account).balance_microusd == 0
