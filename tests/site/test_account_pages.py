"""The pages of an account: who may see them, what they show, and what a key's text never touches."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.models import Account, ApiKey, Membership, Role, User
from accounts.services import account_suspend
from billing.models import Subscription, Wallet
from gateway.dashboard import overview, welcome
from gateway.dashboard.usage import neutral
from gateway.models import DeliveryState, WebhookDelivery
from gateway.webhooks_out import webhook_test
from tests.conftest import Member

PATHS = ["", "/keys", "/keys/new", "/usage", "/requests", "/gallery", "/billing", "/webhooks", "/team", "/profile"]


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


@pytest.mark.parametrize("path", PATHS)
class TestEveryPage:
    def test_a_visitor_is_asked_to_log_in(self, client: Client, catalogue: None, path: str) -> None:
        answer = client.get(f"/dashboard{path}")
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/accounts/login/")

    def test_its_owner_sees_it_and_nobody_stores_it(self, as_alice: Client, path: str) -> None:
        answer = as_alice.get(f"/dashboard{path}")
        assert answer.status_code == 200
        assert "no-store" in answer.headers["Cache-Control"]
        assert " style=" not in answer.content.decode()


class TestGetStarted:
    def test_a_new_person_gets_an_account_a_key_and_a_mail(
        self, client: Client, catalogue: None, django_capture_on_commit_callbacks: Any
    ) -> None:
        user = User.objects.create_user("dora@example.org", "correct horse battery")
        client.force_login(user)
        assert client.get("/dashboard").headers["Location"] == "/dashboard/get-started"
        with django_capture_on_commit_callbacks(execute=True):
            page = client.get("/dashboard/get-started").content.decode()
        key = re.search(r'data-copy="(\w+_live_\w+)"', page)
        assert key is not None
        assert Membership.objects.get(user=user).role == Role.OWNER
        assert mail.outbox[0].to == ["dora@example.org"]
        assert "curl" in str(mail.outbox[0].body)
        assert key[1] not in str(mail.outbox[0].body)

    def test_a_second_visit_makes_nothing(self, client: Client, catalogue: None) -> None:
        client.force_login(User.objects.create_user("dora@example.org", "correct horse battery"))
        client.get("/dashboard/get-started")
        page = client.get("/dashboard/get-started").content.decode()
        assert "_live_" in page  # the display form, with its middle left out
        assert not re.search(r"_live_\w{30}", page)
        assert (Account.objects.count(), ApiKey.objects.count()) == (1, 1)


class TestWhatIsNotAllowed:
    def test_a_suspended_account_is_told_before_a_call_is_refused(self, as_alice: Client, alice: Member) -> None:
        assert "suspended" not in as_alice.get("/dashboard").content.decode()
        account_suspend(account=alice.account, reason="Ask us.", now=timezone.now())
        for path in ("/dashboard", "/models/local/demo"):
            assert "This account is suspended: Ask us." in as_alice.get(path).content.decode()

    @pytest.mark.parametrize(
        ("trouble", "told"),
        [
            ("arrears", "This account is in arrears"),
            ("past_due", "Your plan needs you"),
            ("unpaid", "Your plan needs you"),
        ],
    )
    def test_what_stands_in_the_way_is_told_on_the_overview_too(
        self, as_alice: Client, alice: Member, trouble: str, told: str
    ) -> None:
        assert told not in as_alice.get("/dashboard").content.decode()
        if trouble == "arrears":
            Wallet.objects.filter(pk=alice.account.pk).update(in_arrears=True)
        else:
            now = timezone.now()
            Subscription.objects.create(
                stripe_id="s", account=alice.account, mode="sandbox", status=trouble, price_id="p", created_at=now,
                plan_code="standard", past_due_since=now,
            )  # fmt: skip
        overview = as_alice.get("/dashboard").content.decode()
        assert told in overview
        assert '<a href="/dashboard/billing">Open billing</a>' in overview
        billing = as_alice.get("/dashboard/billing").content.decode()
        assert told in billing
        assert '<a href="/dashboard/billing">Open billing</a>' not in billing

    def test_who_may_not_change_the_account_cannot_type_into_it(self, as_alice: Client, alice: Member) -> None:
        assert "disabled" not in as_alice.get("/dashboard/profile").content.decode()
        Membership.objects.filter(user=alice.user).update(role=Role.VIEWER)
        page = as_alice.get("/dashboard/profile").content.decode()
        assert re.search(r'<select name="time_zone"[^>]* disabled', page)
        assert not re.search(r'<select name="language"[^>]* disabled', page)


class TestAddresses:
    @pytest.fixture
    def dora(self, client: Client, db: None) -> User:
        dora = User.objects.create_user("dora@example.org", "correct horse battery")
        for email, verified in (("dora@example.org", True), ("two@example.org", True), ("new@example.org", False)):
            EmailAddress.objects.create(user=dora, email=email, verified=verified, primary=email == dora.email)
        client.force_login(dora)
        return dora

    def test_each_has_what_can_be_done_with_it(self, client: Client, dora: User) -> None:
        page = client.get("/accounts/email/").content.decode()
        found = {
            row[0]: set(re.findall(r'name="action_(\w+)"', row[1]))
            for row in re.findall(r'value="(\w+@[^"]+)">(.*?)</form>', page)
        }
        assert found == {
            "dora@example.org": set(),
            "two@example.org": {"primary", "remove"},
            "new@example.org": {"send", "remove"},
        }

    def test_another_becomes_the_main_one_and_the_former_is_removed(self, client: Client, dora: User) -> None:
        client.post("/accounts/email/", {"email": "two@example.org", "action_primary": ""})
        client.post("/accounts/email/", {"email": "dora@example.org", "action_remove": ""})
        left = dict(EmailAddress.objects.filter(user=dora).values_list("email", "primary"))
        assert left == {"two@example.org": True, "new@example.org": False}


class TestKeys:
    def test_a_new_key_is_shown_in_the_answer_alone(self, as_alice: Client) -> None:
        answer = as_alice.post("/dashboard/keys/new", {"name": "CI", "budget": "5", "nonce": "n1"})
        key = re.search(r"(\w+_live_\w{40,})", answer.content.decode())
        assert key is not None
        assert ApiKey.objects.get(name="CI").budget_microusd == 5_000_000
        assert key[1] not in as_alice.get("/dashboard/keys").content.decode()

    def test_a_form_sent_twice_makes_one_key(self, as_alice: Client) -> None:
        for _ in range(2):
            as_alice.post("/dashboard/keys/new", {"name": "CI", "nonce": "n2"})
        assert ApiKey.objects.filter(name="CI").count() == 1

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"budget": "-1"}, "More than zero"),
            ({"budget": "much"}, "An amount such as"),
            ({"networks": "nowhere"}, "neither an address nor a network"),
            ({"model_ids": "demo nonesuch"}, "There is no model nonesuch"),
        ],
    )
    def test_bad_restrictions_are_told_and_nothing_is_made(
        self, as_alice: Client, fields: dict[str, str], words: str
    ) -> None:
        answer = as_alice.post("/dashboard/keys/new", {"name": "CI", "nonce": "n3", **fields})
        assert words in answer.content.decode()
        assert not ApiKey.objects.filter(name="CI").exists()

    @pytest.mark.parametrize("act", ["roll", "revoke"])
    def test_a_stranger_s_key_is_not_there(self, as_alice: Client, charlie: Member, act: str) -> None:
        assert as_alice.post(f"/dashboard/keys/{charlie.key_id}/{act}", {"nonce": "n"}).status_code == 404
        assert ApiKey.objects.get(pk=charlie.key_id).revoked_at is None

    def test_revoking_ends_it_and_moves_it_to_the_archive(self, as_alice: Client, alice: Member) -> None:
        as_alice.post(f"/dashboard/keys/{alice.key_id}/revoke")
        assert ApiKey.objects.get(pk=alice.key_id).revoked_at is not None
        assert "Default" not in as_alice.get("/dashboard/keys").content.decode()
        assert "Default" in as_alice.get("/dashboard/keys?archive=1").content.decode()

    @pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
    def test_who_only_looks_makes_no_key(self, client: Client, bob: Member, role: Role) -> None:
        Membership.objects.filter(user=bob.user).update(role=role)
        client.force_login(bob.user)
        assert client.post("/dashboard/keys/new", {"name": "CI", "nonce": "n4"}).status_code == 403
        assert client.get("/dashboard/keys").status_code == 200
        assert not ApiKey.objects.filter(name="CI").exists()


class TestProfile:
    def test_times_are_shown_in_the_account_s_zone(self, as_alice: Client, alice: Member) -> None:
        as_alice.post(
            "/dashboard/profile/account", {"name": "Alice", "time_zone": "Asia/Kathmandu", "retention_days": ""}
        )
        assert Account.objects.get(pk=alice.account.pk).time_zone == "Asia/Kathmandu"
        assert "days in Asia/Kathmandu" in as_alice.get("/dashboard/usage").content.decode()

    def test_a_developer_does_not_change_it(self, client: Client, bob: Member) -> None:
        client.force_login(bob.user)
        answer = client.post("/dashboard/profile/account", {"name": "Mine", "time_zone": "UTC", "retention_days": ""})
        assert answer.status_code == 403
        assert Account.objects.get(pk=bob.account.pk).name != "Mine"

    def test_nobody_looks_at_an_account_that_is_not_theirs(self, as_alice: Client, charlie: Member) -> None:
        assert as_alice.post("/dashboard/account", {"account": charlie.account.pk}).status_code == 404


def test_a_cell_that_begins_like_a_formula_is_neutralised() -> None:
    assert [neutral(cell) for cell in ("=1+1", "@x", "demo", 5)] == ["'=1+1", "'@x", "demo", 5]


class TestWebhooks:
    def test_the_secret_is_shown_to_those_who_may_change_it(self, client: Client, bob: Member) -> None:
        client.force_login(bob.user)
        assert "whsec_" in client.get("/dashboard/webhooks").content.decode()
        Membership.objects.filter(user=bob.user).update(role=Role.VIEWER)
        assert "whsec_" not in client.get("/dashboard/webhooks").content.decode()

    def test_rolling_keeps_the_former_secret_for_a_day(self, as_alice: Client) -> None:
        before = re.findall(r'data-copy="(whsec_[^"]+)"', as_alice.get("/dashboard/webhooks").content.decode())
        as_alice.post("/dashboard/webhooks/secret")
        after = re.findall(r'data-copy="(whsec_[^"]+)"', as_alice.get("/dashboard/webhooks").content.decode())
        assert len(after) == 2
        assert before[0] in after

    def test_a_private_address_is_refused_in_words(self, as_alice: Client) -> None:
        page = as_alice.post("/dashboard/webhooks/test", {"url": "http://10.0.0.1/hook"}, follow=True)
        assert not WebhookDelivery.objects.exists()
        assert "alert-bad" in page.content.decode()

    def test_a_stranger_s_delivery_is_not_there(self, as_alice: Client, charlie: Member) -> None:
        other = webhook_test(account_id=charlie.account.pk, url="https://example.com/hook", now=timezone.now())
        assert as_alice.get(f"/dashboard/webhooks/{other.pk}").status_code == 404
        assert as_alice.post(f"/dashboard/webhooks/{other.pk}/resend").status_code == 404


class TestTheFirstSteps:
    def test_a_webhook_counts_when_it_was_delivered(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        delivery = WebhookDelivery.objects.create(
            message_id="msg_1",
            account_id=alice.account.pk,
            event="generation.succeeded",
            url="https://example.com/hook",
            origin="https://example.com",
            created_at=timezone.now(),
        )
        for state, word in ((DeliveryState.PENDING, "To do"), (DeliveryState.DELIVERED, "Done")):
            WebhookDelivery.objects.filter(pk=delivery.pk).update(state=state)
            line = client.get("/dashboard").content.decode().partition('/dashboard/webhooks">Receive')[0][-120:]
            assert word in line

    def test_it_is_waved_off_for_good(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        assert "Getting started" in client.get("/dashboard").content.decode()
        client.post("/dashboard/checklist/hide")
        assert "Getting started" not in client.get("/dashboard").content.decode()

    def test_all_done_it_stays_away_whatever_is_deleted_later(
        self, client: Client, alice: Member, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.force_login(alice.user)
        monkeypatch.setattr(overview, "checklist", lambda account: [welcome.Step("x", True, "/")])
        client.get("/dashboard")
        monkeypatch.undo()
        assert "Getting started" not in client.get("/dashboard").content.decode()
