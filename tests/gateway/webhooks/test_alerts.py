"""What an account's own programs are told of its spending: the facts of the mails, once, to the address it chose."""

import json

import pytest
from django.utils import timezone

from billing.models import Wallet
from billing.notices import notices_send
from gateway.models import AlertAddress, WebhookDelivery
from tests.support.money import fund, move_to
from tests.support.orders import delivered, place

ADDRESS = "https://alerts.example.com/money"
FORM = {"low_balance": "1", "spend_limit": "", "spend_warn": ""}


@pytest.fixture
def page(alice, client):
    client.force_login(alice.user)
    return client


def save(page, **fields):
    return page.post("/dashboard/billing/limits", FORM | fields)


def told():
    return [(row.event, row.url, json.loads(row.body)) for row in WebhookDelivery.objects.order_by("id")]


def spend(member, images):
    from gateway.services import generation_settle

    made = place(member, samples=images).generation
    generation_settle(generation_id=made.pk, result=delivered(made), now=timezone.now())


def test_a_limit_a_mark_and_a_low_balance_are_posted_once(alice, page):
    fund(alice.account, 500_000)
    move_to(alice.account, "payg")
    Wallet.objects.update(overrides={"free_calls_per_day": 0}, spend_limit_microusd=4_000, spend_warn_microusd=2_000)
    AlertAddress.objects.create(account_id=alice.account.pk, url=ADDRESS)
    spend(alice, 2)
    for _ in range(2):
        notices_send(now=timezone.now())
    events = {event: body for event, url, body in told() if url == ADDRESS}
    assert len(told()) == len(events) == 3
    limit = events["spending.limit"]
    assert (limit["scope"], limit["percent"], limit["limit_microusd"]) == ("Your account", 100, 4_000)
    assert "has spent 100 %" in limit["message"]
    assert events["spending.mark"]["mark_microusd"] == 2_000
    assert events["balance.low"]["available_microusd"] == 496_000


def test_without_an_address_mails_alone_go_out(alice, mailoutbox):
    fund(alice.account, 500_000)
    notices_send(now=timezone.now())
    assert (len(mailoutbox), WebhookDelivery.objects.count()) == (1, 0)


def test_the_billing_page_keeps_and_ends_the_address(alice, page, stripe_on):
    assert save(page, alert_url=ADDRESS).status_code == 302
    assert ADDRESS in page.get("/dashboard/billing/").content.decode()
    assert AlertAddress.objects.get().url == ADDRESS
    save(page, alert_url="")
    assert not AlertAddress.objects.exists()


@pytest.mark.parametrize("url", ["http://example.com/", "https://10.0.0.1/", "https://example.com:444444/", "nothing"])
def test_an_address_that_nothing_is_sent_to_is_refused_beside_its_field(alice, page, stripe_on, url):
    answer = save(page, alert_url=url)
    assert answer.status_code == 400
    assert 'id="id_alert_url_error"' in answer.content.decode()
    assert not AlertAddress.objects.exists()


@pytest.fixture
def stripe_on(settings):
    """The card with the form shows where payments are configured."""
    settings.BILLING_PROVIDER = "sandbox"
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
