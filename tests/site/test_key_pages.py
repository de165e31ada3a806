"""Keys after their making: taking them along, changing them, mails about them, and stopping mails."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.events import events_of
from accounts.models import Account, ApiKey, User
from billing.models import UsageBucket
from billing.notices import notices_send
from gateway.api.authentication import caller_authenticate
from gateway.caching import caches_clear
from gateway.notices import unsubscribe_url
from tests.conftest import Member


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


def test_the_new_key_can_be_taken_along_as_a_file(as_alice: Client) -> None:
    page = as_alice.post("/dashboard/keys/new", {"name": "CI", "nonce": "n1"}).content.decode()
    link = re.search(r'href="(data:text/plain[^"]+)" download="api-key.env"', page)
    assert link is not None
    text = unquote(link[1].partition(",")[2])
    key = re.search(r"^API_KEY=(\w+)$", text, re.MULTILINE)
    assert key is not None
    assert caller_authenticate(key=key[1], address="203.0.113.9", now=timezone.now())


def test_who_made_a_key_gets_a_mail_without_it(
    as_alice: Client, alice: Member, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        page = as_alice.post("/dashboard/keys/new", {"name": "CI", "nonce": "n1"}).content.decode()
    text = re.search(r"\w+_live_\w{40,}", page)
    assert text is not None
    (message,) = mail.outbox
    assert (message.to, "CI" in message.subject) == ([alice.user.email], True)
    assert text[0] not in str(message.message())


class TestChanging:
    def test_new_restrictions_hold_at_the_next_look_and_stand_in_the_record(
        self, as_alice: Client, alice: Member
    ) -> None:
        form = {"name": "Default", "scopes": ["read"], "networks": "198.51.100.0/24", "budget": "5", "warn": "2.50"}
        assert as_alice.post(f"/dashboard/keys/{alice.key_id}/edit", form).status_code == 302
        key = ApiKey.objects.get(pk=alice.key_id)
        assert (key.scopes, key.networks, key.budget_microusd, key.warn_microusd) == (
            ["read"],
            ["198.51.100.0/24"],
            5_000_000,
            2_500_000,
        )
        caches_clear()
        caller = caller_authenticate(key=alice.key, address="198.51.100.7", now=timezone.now())
        assert caller.key.scopes == ("read",)
        event = events_of(alice.account).first()
        assert event is not None
        assert "scopes, networks, budget, warn" in event.target
        assert "Read results, lists and the catalogue<br>1 network" in as_alice.get("/dashboard/keys").content.decode()

    def test_the_form_shows_what_holds_and_saving_it_changes_nothing(self, as_alice: Client, alice: Member) -> None:
        ApiKey.objects.filter(pk=alice.key_id).update(budget_microusd=5_250_000, model_ids=["demo"])
        before = ApiKey.objects.filter(pk=alice.key_id).values().get()
        page = as_alice.get(f"/dashboard/keys/{alice.key_id}/edit").content.decode()
        assert 'value="5.25' in page
        as_alice.post(
            f"/dashboard/keys/{alice.key_id}/edit", {"name": "Default", "budget": "5.25", "model_ids": "demo"}
        )
        assert ApiKey.objects.filter(pk=alice.key_id).values().get() == before

    def test_a_stranger_s_key_is_not_there(self, as_alice: Client, charlie: Member) -> None:
        assert as_alice.post(f"/dashboard/keys/{charlie.key_id}/edit", {"name": "Mine"}).status_code == 404
        assert ApiKey.objects.get(pk=charlie.key_id).name == "Default"


def test_the_soft_limit_tells_once_and_stops_nothing(alice: Member) -> None:
    ApiKey.objects.filter(pk=alice.key_id).update(warn_microusd=1_000_000)
    now = timezone.now()
    UsageBucket.objects.create(
        account_id=alice.account.pk, key_id=alice.key_id, bucket=now, model_id="demo", calls=1, amount_microusd=999_999
    )
    notices_send(now=now)
    assert mail.outbox == []
    UsageBucket.objects.update(amount_microusd=1_000_000)
    for _ in range(2):
        notices_send(now=now)
    (message,) = mail.outbox
    assert 'The key "Default" has spent $1.00' in str(message.body)
    assert "Nothing has stopped" in str(message.body)


def test_a_key_is_made_with_a_limit_of_a_day_and_pages_and_its_form_shows_them(as_alice: Client, alice: Member) -> None:
    form = {
        "name": "Web",
        "nonce": "n1",
        "calls_per_day": "50",
        "origins": "https://App.example.com/, https://*.example.org",
    }
    as_alice.post("/dashboard/keys/new", form)
    key = ApiKey.objects.get(name="Web")
    assert (key.calls_per_day, key.origins) == (50, ["https://app.example.com", "https://*.example.org"])
    page = as_alice.get(f"/dashboard/keys/{key.pk}/edit").content.decode()
    assert "https://app.example.com\nhttps://*.example.org" in page
    listed = as_alice.get("/dashboard/keys").content.decode()
    assert "0 of 50 today" in listed
    assert "2 web pages" in listed


def test_the_archive_keeps_what_a_key_spent_in_all(as_alice: Client, alice: Member) -> None:
    now = timezone.now()
    Account.objects.filter(pk=alice.account.pk).update(created_at=now - timedelta(days=100))
    for days, amount in ((70, 2_000_000), (0, 1_500_000)):
        UsageBucket.objects.create(
            account_id=alice.account.pk,
            key_id=alice.key_id,
            bucket=(now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0),
            model_id="demo",
            calls=1,
            amount_microusd=amount,
        )
    ApiKey.objects.filter(pk=alice.key_id).update(revoked_at=now)
    page = as_alice.get("/dashboard/keys?archive=1").content.decode()
    assert "$3.50" in page
    assert "2 calls" in page


class TestUnsubscribing:
    def test_looking_stops_nothing_and_the_button_does(self, client: Client, alice: Member) -> None:
        path = re.sub(r"^https?://[^/]+", "", unsubscribe_url(alice.user))
        assert client.get(path).status_code == 200
        assert User.objects.get(pk=alice.user.pk).notices
        assert Client(enforce_csrf_checks=True).post(path).status_code == 200
        assert not User.objects.get(pk=alice.user.pk).notices

    def test_a_forged_link_is_not_there(self, client: Client, alice: Member) -> None:
        assert client.post("/dashboard/mails/stop/MQ:xxxx:yyyy").status_code == 404
        assert User.objects.get(pk=alice.user.pk).notices
