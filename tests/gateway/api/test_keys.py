"""What a key may be held to beyond its scopes (a day's calls, web pages), and keys made by keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from accounts.events import events_of
from accounts.models import ApiKey
from accounts.services import key_create
from billing.models import UsageDay
from gateway import caching
from gateway.models import KeyDay
from gateway.services.key_days import KEPT_FOR, key_day_count, key_days_forget
from inference.models import Generation
from tests.conftest import Member
from tests.gateway.api.conftest import Api

CALL = {"prompt": "a red circle", "width": "64", "height": "64"}
TEXT = "v7/images/text-to-image"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the revision is a real one."""
    monkeypatch.setattr(caching, "REVISION_EVERY_S", 0)


def restrict(member: Member, **values: Any) -> None:
    ApiKey.objects.filter(pk=member.key_id).update(**values)


class TestCallsADay:
    def test_one_more_than_the_limit_is_refused_and_consumes_nothing(self, api: Api, alice: Member) -> None:
        restrict(alice, calls_per_day=1)
        assert api.post(TEXT, **CALL)["status"] == "processing"
        body = api.post(TEXT, **CALL)
        assert (api.status, body["code"], body["limit"]) == (429, "key_quota_exhausted", 1)
        assert api.last is not None
        assert int(api.last.headers["Retry-After"]) == body["retry_after"] > 0
        assert body["resets_at"].endswith("T00:00:00+00:00")
        assert (UsageDay.objects.get().calls, Generation.objects.count(), KeyDay.objects.get().calls) == (1, 1, 1)

    def test_another_key_of_the_account_goes_on(self, alice: Member, bob: Member, api_of: Callable[..., Api]) -> None:
        restrict(alice, calls_per_day=1)
        api_of(alice).post(TEXT, **CALL)
        assert api_of(bob).post(TEXT, **CALL)["status"] == "processing"

    def test_a_call_that_is_refused_later_is_not_counted(self, api: Api, alice: Member) -> None:
        restrict(alice, calls_per_day=5)
        UsageDay.objects.create(account_id=alice.account.pk, day=timezone.now().date(), calls=100)
        assert api.post(TEXT, **CALL)["code"] == "daily_quota_exhausted"
        assert not KeyDay.objects.exists()

    def test_a_repeated_call_counts_once(self, api: Api, alice: Member) -> None:
        restrict(alice, calls_per_day=1)
        ids = {api.post(TEXT, **CALL, idempotency_key="one")["id"] for _ in range(2)}
        assert len(ids) == 1
        assert KeyDay.objects.get().calls == 1

    def test_the_day_ends_at_midnight_utc(self, alice: Member) -> None:
        now = timezone.now()
        key_day_count(key_id=alice.key_id, limit=1, now=now)
        key_day_count(key_id=alice.key_id, limit=1, now=now + timedelta(days=1))
        key_days_forget(now=now + KEPT_FOR + timedelta(days=1))
        assert [row.day for row in KeyDay.objects.all()] == [(now + timedelta(days=1)).date()]

    def test_the_account_tells_where_the_key_stands(self, api: Api, alice: Member) -> None:
        restrict(alice, calls_per_day=7)
        api.post(TEXT, **CALL)
        data = api.get("v7/account")["data"]
        assert (data["limits"]["key"]["calls_per_day"], data["used"]["key_calls_today"]) == (7, 1)


class TestWebPages:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"HTTP_ORIGIN": "https://app.example.com"}, 200),
            ({"HTTP_ORIGIN": "https://a.b.example.org"}, 200),
            ({"HTTP_REFERER": "https://app.example.com/page?x=1"}, 200),
            ({"HTTP_ORIGIN": "null", "HTTP_REFERER": "https://APP.example.com/"}, 200),
            ({}, 403),
            ({"HTTP_ORIGIN": "https://example.org"}, 403),
            ({"HTTP_ORIGIN": "http://app.example.com"}, 403),
            ({"HTTP_ORIGIN": "https://app.example.com:8443"}, 403),
            ({"HTTP_ORIGIN": "https://app.example.com.evil.net"}, 403),
            ({"HTTP_ORIGIN": "https://evilexample.org"}, 403),
            ({"HTTP_REFERER": "https://evil.net/https://app.example.com/"}, 403),
        ],
    )
    def test_only_listed_pages_may_use_the_key(
        self, api: Api, alice: Member, headers: dict[str, str], status: int
    ) -> None:
        restrict(alice, origins=["https://app.example.com", "https://*.example.org"])
        body = api.get("v7/account", **headers)
        assert api.status == status
        assert body.get("code") == (None if status == 200 else "origin_denied")

    def test_browsers_are_told_that_they_may_call_and_what_they_may_read(self, api: Api) -> None:
        api.get("v7/account", HTTP_ORIGIN="https://app.example.com")
        assert api.last is not None
        assert api.last.headers["Access-Control-Allow-Origin"] == "*"
        assert "Retry-After" in api.last.headers["Access-Control-Expose-Headers"]
        api.get("v7/account")
        assert "Access-Control-Allow-Origin" not in api.last.headers

    def test_a_refusal_can_be_read_by_the_page_too(self, api_of: Callable[..., Api]) -> None:
        api = api_of(None)
        api.get("v7/account", HTTP_ORIGIN="https://app.example.com")
        assert api.last is not None
        assert (api.status, api.last.headers["Access-Control-Allow-Origin"]) == (401, "*")

    def test_the_question_before_a_call_needs_no_key(self, client: Any) -> None:
        answer = client.options(
            f"/api/{TEXT}", headers={"origin": "https://x.example", "access-control-request-method": "POST"}
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.fixture
def admin(alice: Member, client: Any) -> Api:
    made = key_create(account=alice.account, name="Backend", now=timezone.now(), scopes=("admin",))
    return Api(client, made.text)


class TestKeysByKeys:
    def test_a_new_key_works_within_its_own_limits(
        self, admin: Api, client: Any, django_capture_on_commit_callbacks: Any, alice: Member
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            body = admin.post(
                "v7/keys",
                name="user 4711",
                scopes=["generate"],
                calls_per_day=1,
                budget_usd="2.50",
                models=["demo"],
                origins="https://app.example.com",
                expires_in_days=3,
            )
        assert admin.status == 200
        made = ApiKey.objects.get(pk=body["data"]["id"])
        assert (made.scopes, made.calls_per_day, made.budget_microusd, made.model_ids, made.origins) == (
            ["generate"],
            1,
            2_500_000,
            ["demo"],
            ["https://app.example.com"],
        )
        assert made.expires_at is not None
        assert admin.last is not None
        assert admin.last.headers["Cache-Control"] == "no-store"
        assert [message.to for message in mail.outbox] == [[alice.user.email]]
        assert body["key"] not in str(mail.outbox[0].message())
        api = Api(client, body["key"])
        assert api.post(TEXT, **CALL)["code"] == "origin_denied"
        assert (
            api.send(
                TEXT,
                b'{"prompt": "a red circle", "width": 64, "height": 64}',
                HTTP_ORIGIN="https://app.example.com",
                HTTP_KEY=body["key"],
            )["status"]
            == "processing"
        )
        event = events_of(alice.account).first()
        assert event is not None
        assert (event.action, event.actor) == ("made the key", None)
        assert event.target.endswith(f"with {ApiKey.objects.get(name='Backend').display}")

    def test_the_list_shows_no_text(self, admin: Api, alice: Member) -> None:
        data = admin.get("v7/keys")["data"]
        assert {row["name"] for row in data} == {"Backend", "Default"}
        assert admin.last is not None
        assert (admin.key or "") not in admin.last.content.decode()
        assert alice.key not in admin.last.content.decode()

    def test_what_is_left_out_stays_and_what_is_given_holds_at_once(
        self, admin: Api, api_of: Callable[..., Api], alice: Member
    ) -> None:
        restrict(alice, networks=["127.0.0.0/8"], calls_per_minute=50)
        data = admin.post(f"v7/keys/{alice.key_id}", scopes="read")["data"]
        assert (data["scopes"], data["networks"], data["calls_per_minute"]) == (["read"], ["127.0.0.0/8"], 50)
        assert api_of(alice).post(TEXT, **CALL)["code"] == "scope_denied"

    def test_a_revoked_key_is_refused(self, admin: Api, api_of: Callable[..., Api], alice: Member) -> None:
        first, again = (admin.post(f"v7/keys/revoke/{alice.key_id}")["data"]["revoked_at"] for _ in range(2))
        assert first == again
        assert api_of(alice).get("v7/account")["code"] == "key_revoked"

    def test_without_the_scope_there_is_no_way(self, api: Api, alice: Member) -> None:
        """Not even for a key that may do everything else."""
        for scopes in ([], ["read", "generate", "billing"]):
            restrict(alice, scopes=scopes)
            assert api.post("v7/keys", name="x")["code"] == "scope_denied"
            assert api.get("v7/keys")["code"] == "scope_denied"
            assert api.post(f"v7/keys/revoke/{alice.key_id}")["code"] == "scope_denied"
        assert ApiKey.objects.count() == 1

    def test_the_scope_makes_no_pictures_and_reads_no_money(self, admin: Api) -> None:
        assert admin.post(TEXT, **CALL)["code"] == "scope_denied"
        assert admin.get("wallet_balance")["code"] == "scope_denied"

    def test_it_cannot_be_handed_on(self, admin: Api, alice: Member) -> None:
        for path in ("v7/keys", f"v7/keys/{alice.key_id}"):
            body = admin.post(path, name="x", scopes=["admin"])
            assert (admin.status, body["errors"][0]["field"]) == (400, "scopes")

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({}, "name"),
            ({"name": "x", "scopes": ["everything"]}, "scopes"),
            ({"name": "x", "networks": ["10.0.0.0/99"]}, "networks"),
            ({"name": "x", "origins": ["app.example.com"]}, "origins"),
            ({"name": "x", "origins": "javascript:alert(1)"}, "origins"),
            ({"name": "x", "models": ["nothing"]}, "models"),
            ({"name": "x", "calls_per_day": 0}, "calls_per_day"),
            ({"name": "x", "budget_usd": "-1"}, "budget_usd"),
            ({"name": "x", "budget_usd": {"a": 1}}, "budget_usd"),
            ({"name": "x", "expires_in_days": "soon"}, "expires_in_days"),
        ],
    )
    def test_what_is_wrong_is_named(self, admin: Api, fields: dict[str, Any], field: str) -> None:
        body = admin.post("v7/keys", **fields)
        assert (admin.status, body["errors"][0]["field"]) == (400, field)
        assert ApiKey.objects.count() == 2

    @pytest.mark.parametrize("key_id", ["0", "x", "9" * 30])
    def test_an_unknown_key_and_a_stranger_s_are_the_same_404(self, admin: Api, charlie: Member, key_id: str) -> None:
        for path in (f"v7/keys/{key_id}", f"v7/keys/revoke/{charlie.key_id}"):
            assert admin.post(path, name="x")["code"] == "key_not_found"
        assert ApiKey.objects.get(pk=charlie.key_id).revoked_at is None
