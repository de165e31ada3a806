"""Taking all data along, closing an account, and a person's own end."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import Account, AccountEvent, ApiKey, Membership, Role, User
from billing.models import LedgerEntry, Subscription, UsageBucket, Wallet
from billing.services import funds_grant
from gateway.caching import caches_clear
from gateway.services.retention import retention_sweep
from inference.models import Generation
from tests.conftest import Member
from tests.gateway.test_retention import made, stands
from tests.site.test_log_and_gallery import deliver
from tests.support.orders import place

PASSWORD = "correct horse battery"


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    """Logged in, with the password given again a moment ago, as closing demands."""
    client.force_login(alice.user)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def close(client: Client, name: str) -> Any:
    return client.post("/dashboard/profile/close", {"name": name})


class TestExport:
    def test_it_holds_everything_but_secrets(self, as_alice: Client, alice: Member) -> None:
        generation = made(alice)
        funds_grant(
            account_id=alice.account.pk, amount_microusd=5_000_000, op_key="g", reason="gift", now=timezone.now()
        )
        answer = as_alice.post("/dashboard/profile/export")
        data = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        archive = zipfile.ZipFile(io.BytesIO(data))
        assert archive.testzip() is None
        call = json.loads(archive.read("calls.jsonl"))
        assert call["asked"]["prompt"] == "a portrait of my daughter"
        assert archive.read(f"pictures/{generation.images[0]['key'].rpartition('/')[2]}") == b"png"
        assert b"5.0" in archive.read("ledger.csv")
        assert json.loads(archive.read("account.json"))["members"][0]["email"] == "alice@example.org"
        key = ApiKey.objects.get(pk=alice.key_id)
        texts = b"".join(archive.read(name) for name in archive.namelist())
        assert key.digest.encode() not in texts
        assert key.lookup.encode() not in texts
        assert AccountEvent.objects.filter(action="exported all data", actor=alice.user).exists()

    def test_it_holds_nothing_of_a_stranger(self, as_alice: Client, charlie: Member) -> None:
        made(charlie)
        data = b"".join(as_alice.post("/dashboard/profile/export").streaming_content)  # type: ignore[attr-defined]
        archive = zipfile.ZipFile(io.BytesIO(data))
        assert archive.read("calls.jsonl") == b""
        assert b"charlie" not in b"".join(archive.read(name) for name in archive.namelist())


class TestClosing:
    def test_words_pictures_and_names_go_and_the_books_stay(self, as_alice: Client, alice: Member, bob: Member) -> None:
        generation, name = made(alice), alice.account.name
        key = generation.images[0]["key"]
        funds_grant(
            account_id=alice.account.pk, amount_microusd=5_000_000, op_key="g", reason="gift", now=timezone.now()
        )
        assert close(as_alice, name).status_code == 302
        retention_sweep(now=timezone.now())
        account = Account.objects.get(pk=alice.account.pk)
        assert (account.name, account.closed_at is not None) == (f"Closed account {account.pk}", True)
        assert not User.objects.exists()
        assert not AccountEvent.objects.filter(account=account).exists()
        assert not stands(key)
        everything = str([list(m.objects.values()) for m in (Account, ApiKey, Generation, LedgerEntry)])
        assert "alice" not in everything
        assert "daughter" not in everything
        assert LedgerEntry.objects.filter(wallet_id=account.pk).count() == 1
        assert UsageBucket.objects.filter(account_id=account.pk).exists()
        assert as_alice.get("/dashboard").status_code == 302

    def test_its_keys_are_refused_and_calls_under_way_end(self, as_alice: Client, alice: Member) -> None:
        waiting = place(alice).generation
        close(as_alice, alice.account.name)
        assert Generation.objects.get(pk=waiting.pk).state == "cancelled"
        caches_clear()  # what every process does within a second
        reply = Client().post("/api/v7/account", {"key": alice.key})
        assert (reply.status_code, reply.json()["code"]) == (401, "key_revoked")

    def test_members_are_told_and_keep_their_other_accounts(
        self, as_alice: Client, alice: Member, bob: Member, charlie: Member, django_capture_on_commit_callbacks: Any
    ) -> None:
        Membership.objects.create(account=alice.account, user=charlie.user, role=Role.VIEWER)
        with django_capture_on_commit_callbacks(execute=True):
            close(as_alice, alice.account.name)
        assert {to for message in mail.outbox for to in message.to} >= {"bob@example.org", "charlie@example.org"}
        assert list(User.objects.values_list("email", flat=True)) == ["charlie@example.org"]

    def test_it_asks_for_the_name(self, as_alice: Client, alice: Member) -> None:
        assert close(as_alice, "something else").status_code == 400
        assert Account.objects.get(pk=alice.account.pk).closed_at is None

    def test_it_asks_for_the_password_again(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        assert "reauthenticate" in close(client, alice.account.name).headers["Location"]
        assert Account.objects.get(pk=alice.account.pk).closed_at is None

    @pytest.mark.parametrize("why", ["subscription", "debt"])
    def test_open_matters_come_first(self, as_alice: Client, alice: Member, why: str) -> None:
        if why == "debt":
            Wallet.objects.filter(pk=alice.account.pk).update(balance_microusd=-1, postpaid_limit_microusd=10_000)
        else:
            Subscription.objects.create(
                stripe_id="s",
                account=alice.account,
                mode="sandbox",
                status="active",
                price_id="p",
                created_at=timezone.now(),
            )
        answer = close(as_alice, alice.account.name)
        assert answer.status_code == 400
        assert "billing page" in answer.content.decode()
        assert Account.objects.get(pk=alice.account.pk).closed_at is None


class TestLeaving:
    def test_a_member_deletes_the_log_in_and_the_account_goes_on(self, client: Client, bob: Member) -> None:
        client.force_login(bob.user)
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        assert client.post("/dashboard/profile/leave").status_code == 302
        assert not User.objects.filter(email="bob@example.org").exists()
        assert Account.objects.get(pk=bob.account.pk).closed_at is None
        assert ApiKey.objects.filter(pk=bob.key_id, created_by=None, revoked_at=None).exists()

    def test_the_last_owner_closes_first(self, as_alice: Client, alice: Member) -> None:
        answer = as_alice.post("/dashboard/profile/leave")
        assert "close it first" in answer.content.decode()
        assert User.objects.filter(pk=alice.user.pk).exists()

    def test_staff_stays(self, as_alice: Client, alice: Member) -> None:
        User.objects.filter(pk=alice.user.pk).update(is_staff=True)
        assert "You are staff" in as_alice.post("/dashboard/profile/leave").content.decode()


class TestSettings:
    def test_a_change_stands_in_the_record_and_no_change_does_not(self, as_alice: Client, alice: Member) -> None:
        form = {"name": "Studio", "time_zone": "Europe/Berlin", "retention_days": "7", "parameters_in_pictures": "on"}
        for _ in range(2):
            as_alice.post("/dashboard/profile/account", form)
        assert Account.objects.get(pk=alice.account.pk).retention_days == 7
        events = AccountEvent.objects.filter(action="changed settings:").values_list("target", flat=True)
        assert list(events) == ["name, time zone, retention days"]

    def test_pictures_made_from_then_on_keep_their_settings_to_themselves(
        self, as_alice: Client, alice: Member
    ) -> None:
        told = []
        for choice in ({"parameters_in_pictures": "on"}, {}):
            form = {"name": "Studio", "time_zone": "UTC", "retention_days": ""} | choice
            as_alice.post("/dashboard/profile/account", form)
            caches_clear()
            call = deliver(as_alice)
            page = as_alice.get(f"/dashboard/requests/{call.pk}").content.decode()
            assert "<dt>Seed</dt><dd>7</dd>" in page
            told.append((call.spec["parameters_in_pictures"], "In the picture" in page))
        assert told == [(True, True), (False, False)]

    def test_a_person_s_colours_follow_to_another_browser(self, as_alice: Client, alice: Member) -> None:
        as_alice.post("/dashboard/profile/person", {"name": "Alice", "theme": "dark"})
        elsewhere = Client()
        elsewhere.force_login(User.objects.get(pk=alice.user.pk))
        assert 'data-theme="dark"' in elsewhere.get("/dashboard/profile").content.decode()
        assert User.objects.get(pk=alice.user.pk).notices is False
