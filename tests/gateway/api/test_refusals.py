"""Refusals: status, code, both messages, when and how to go on; and that nothing is consumed."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Account, ApiKey
from billing.models import Hold, Price, UsageDay
from inference.models import Generation, ImageModel
from tests.support.money import move_to

pytestmark = pytest.mark.django_db
CALL = "v6/images/text2img"


@pytest.fixture
def nothing_written():
    yield
    assert not Generation.objects.exists()
    assert not Hold.objects.exists()


def call(api, **fields):
    return api.post(CALL, **({"prompt": "x", "model_id": "demo"} | fields))


@pytest.mark.usefixtures("nothing_written")
class TestWhoCalls:
    @pytest.mark.parametrize(
        ("key", "code"), [(None, "key_missing"), ("", "key_missing"), ("nonsense", "key_invalid"), (17, "key_invalid")]
    )
    def test_a_wrong_key_is_401(self, api, key, code):
        api.key = key
        body = call(api)
        assert (api.status, body["status"], body["code"]) == (401, "error", code)
        assert body["message"] == body["messege"]
        assert body["request_id"].startswith("req_")

    def test_a_revoked_key_is_refused(self, alice, api):
        ApiKey.objects.filter(pk=alice.key_id).update(revoked_at=timezone.now())
        assert call(api)["code"] == "key_revoked"
        assert api.status == 401

    def test_an_expired_key_is_refused_with_its_day(self, alice, api):
        ApiKey.objects.filter(pk=alice.key_id).update(expires_at=timezone.now() - timedelta(days=1))
        body = call(api)
        assert (api.status, body["code"]) == (401, "key_expired")
        assert body["expired_at"] in body["message"]

    @pytest.mark.parametrize(("network", "code"), [("10.0.0.0/8", "address_denied"), ("127.0.0.0/8", None)])
    def test_a_key_may_be_restricted_to_networks(self, alice, api, network, code):
        ApiKey.objects.filter(pk=alice.key_id).update(networks=[network])
        assert api.post("v7/account").get("code") == code

    def test_a_restricted_key_is_useless_without_a_network_address(self, alice, api):
        ApiKey.objects.filter(pk=alice.key_id).update(networks=["0.0.0.0/0"])
        api.send("v7/account", b"", HTTP_KEY=alice.key, REMOTE_ADDR="")
        assert api.status == 403

    def test_a_suspended_account_is_refused_with_the_reason(self, alice, api):
        Account.objects.filter(pk=alice.account.pk).update(suspended_at=timezone.now(), suspended_reason="unpaid")
        body = call(api)
        assert (api.status, body["code"], body["reason"]) == (403, "account_suspended", "unpaid")

    def test_an_address_that_keeps_guessing_is_sent_away(self, api):
        api.key = "nonsense"
        codes = {call(api)["code"] for _ in range(25)}
        assert codes == {"key_invalid", "too_many_failed_keys"}
        assert api.status == 429
        assert int(api.last.headers["Retry-After"]) >= 1

    def test_a_key_may_be_restricted_to_models(self, alice, api):
        ApiKey.objects.filter(pk=alice.key_id).update(model_ids=["other"])
        body = call(api)
        assert (api.status, body["code"], body["model_id"]) == (403, "model_denied", "demo")


@pytest.mark.usefixtures("nothing_written")
class TestWhatIsAsked:
    def test_an_unknown_model_is_404(self, api):
        body = call(api, model_id="no-such-model")
        assert (api.status, body["code"], body["model_id"]) == (404, "model_not_found", "no-such-model")

    def test_a_model_that_cannot_do_this_says_what_it_can(self, api):
        ImageModel.objects.filter(model_id="demo").update(operations=["img2img"])
        body = call(api)
        assert (api.status, body["code"], body["supported"]) == (400, "operation_not_supported", "img2img")

    @pytest.mark.parametrize("path", ["v6/images/text2image", "v9/anything", "", "v6", "v6/images/text2img/5"])
    def test_an_unknown_route_is_404_in_json(self, api, path):
        body = api.post(path, prompt="x")
        assert (api.status, body["code"]) == (404, "route_not_found")

    def test_the_wrong_method_is_405_and_names_the_right_one(self, api):
        body = api.get(CALL)
        assert (api.status, body["code"], body["allowed"]) == (405, "method_not_allowed", "POST")
        assert api.last.headers["Allow"] == "POST"

    def test_broken_json_is_400(self, api):
        body = api.send(CALL, b'{"prompt": ')
        assert (api.status, body["code"]) == (400, "malformed_request")

    def test_a_body_that_is_too_large_is_413(self, api, settings):
        settings.MAX_BODY_BYTES = 50
        body = call(api, prompt="x" * 100)
        assert (api.status, body["code"], body["limit"]) == (413, "body_too_large", 50)

    @pytest.mark.parametrize(
        "path",
        ["v6/image_editing/face_gen", "v6/image_editing/caption", "v3/nsfw_image_check", "v1/enterprise/qwen/text2img"],
    )
    def test_what_this_installation_has_no_model_for_names_what_to_add(self, api, path):
        body = api.post(path, prompt="x")
        assert (api.status, body["code"]) == (503, "capability_missing")
        assert "model" in body["needed"]

    @pytest.mark.parametrize("path", ["v3/lora_fine_tune", "v3/fine_tune_status/5", "v5/outpaint", "v3/load_model"])
    def test_what_the_product_does_not_do_names_what_does(self, api, path):
        body = api.post(path, prompt="x")
        assert (api.status, body["code"]) == (403, "not_offered")
        assert body["what"] in body["message"]

    def test_super_resolution_without_an_upscaler_names_what_to_add(self, api):
        body = api.post("v6/image_editing/super_resolution", init_image="https://example.com/a.png")
        assert (api.status, body["code"]) == (503, "capability_missing")
        assert "upscaler" in body["needed"]


class TestLimits:
    def test_every_reply_of_a_generation_route_tells_where_the_limit_stands(self, api):
        call(api)
        assert api.last.headers["RateLimit-Limit"] == "10"
        assert api.last.headers["RateLimit-Remaining"] == "9"
        assert 0 <= int(api.last.headers["RateLimit-Reset"]) <= 61
        call(api, model_id="none-such")
        assert api.status == 404
        assert api.last.headers["RateLimit-Remaining"] == "9"

    def test_the_calls_of_a_minute(self, alice, api):
        ApiKey.objects.filter(pk=alice.key_id).update(calls_per_minute=1)
        call(api)
        body = call(api)
        assert (api.status, body["code"], body["limit"]) == (429, "rate_limited", 1)
        headers = api.last.headers
        assert headers["Retry-After"] == str(body["retry_after"])
        assert 1 <= body["retry_after"] <= 61
        assert 0 < int(headers["X-RateLimit-Reset"]) - timezone.now().timestamp() <= 62
        assert headers["RateLimit-Remaining"] == "0"
        assert Generation.objects.count() == 1

    def test_the_calls_that_may_wait(self, api):
        call(api)
        call(api)
        body = call(api)
        assert (api.status, body["code"], body["limit"]) == (429, "queue_full", 2)
        assert "Retry-After" in api.last.headers
        assert Generation.objects.count() == 2

    def test_the_free_calls_of_a_day_say_when_they_reset_and_how_to_go_on(self, alice, api):
        UsageDay.objects.create(account_id=alice.account.pk, day=timezone.now().date(), calls=100)
        body = call(api)
        assert (api.status, body["code"], body["limit"]) == (429, "daily_quota_exhausted", 100)
        assert body["resets_at"].endswith("T00:00:00+00:00")
        assert body["billing_url"].endswith("/dashboard/billing/")
        assert api.last.headers["Retry-After"] == str(body["retry_after"])
        assert "X-RateLimit-Reset" in api.last.headers
        assert api.last.headers["RateLimit-Remaining"] == "10"


class TestMoney:
    def test_without_funds_the_call_says_its_cost_and_what_is_left(self, alice, api):
        move_to(alice.account, "payg")
        UsageDay.objects.create(account_id=alice.account.pk, day=timezone.now().date(), calls=10_000)
        body = call(api, samples=3)
        assert (api.status, body["code"]) == (402, "funds_exhausted")
        assert (body["cost_microusd"], body["available_microusd"], body["cost_usd"]) == (6_000, 0, "0.0060")
        assert body["billing_url"].endswith("/dashboard/billing/")
        assert not Generation.objects.exists()

    def test_a_model_without_a_price_is_never_free(self, api):
        Price.objects.all().delete()
        body = call(api)
        assert (api.status, body["code"]) == (503, "price_missing")


class TestOlderStyles:
    @pytest.mark.parametrize(("path", "status"), [("v3/text2img", 200), ("v5/controlnet", 200), (CALL, 400)])
    def test_errors_with_status_200_for_the_older_generations_by_setting(self, api, settings, path, status):
        settings.LEGACY_ERROR_STATUS = True
        body = api.post(path)
        assert (api.status, body["status"]) == (status, "error")

    def test_validation_as_lists_by_field_by_setting(self, api, settings):
        settings.LEGACY_VALIDATION_OBJECT = True
        body = api.post("v3/text2img", width="wide")
        assert set(body["messege"]) == {"prompt", "width"}
        assert body["messege"]["prompt"] == ["prompt is required."]
        assert body["message"] == body["messege"]
        assert isinstance(api.post(CALL)["messege"], str)


class TestOurOwnFaults:
    def test_a_busy_database_is_503_with_a_time_to_come_back(self, api, monkeypatch):
        from django.db import OperationalError

        def busy(**_):
            raise OperationalError("database is locked")

        monkeypatch.setattr("gateway.api.views.generation.generation_place", busy)
        body = call(api)
        assert (api.status, body["code"], body["retry_after"]) == (503, "temporarily_unavailable", 2)
        assert api.last.headers["Retry-After"] == "2"

    def test_what_nobody_foresaw_is_500_without_a_word_of_what_it_was(self, api, monkeypatch, caplog):
        def broken(**_):
            raise RuntimeError("the wallet of alice")

        monkeypatch.setattr("gateway.api.views.generation.generation_place", broken)
        body = call(api)
        assert (api.status, body["code"]) == (500, "internal_error")
        assert "wallet" not in api.last.content.decode()
        assert body["request_id"] in caplog.text


def test_an_idempotency_key_gives_the_same_job_and_another_body_is_a_conflict(api):
    first = call(api, idempotency_key="order-7")
    again = call(api, idempotency_key="order-7")
    assert first["id"] == again["id"]
    assert first["meta"] == again["meta"]
    body = call(api, idempotency_key="order-7", prompt="another")
    assert (api.status, body["code"]) == (409, "idempotency_conflict")
    assert Generation.objects.count() == 1


def test_a_repeated_call_finds_its_job_although_no_further_call_would_be_admitted(alice, api):
    ApiKey.objects.filter(pk=alice.key_id).update(calls_per_minute=1)
    first = call(api, idempotency_key="order-8", width="256", height=256)
    again = call(api, idempotency_key="order-8", height=256, width="256")
    assert (api.status, again["id"]) == (200, first["id"])
    assert api.last.headers["RateLimit-Limit"] == "10"
    assert call(api)["code"] == "rate_limited"


def test_two_calls_at_the_same_moment_under_one_key_are_decided_by_admission(api, monkeypatch):
    first = call(api, idempotency_key="order-9")
    monkeypatch.setattr("gateway.api.views.generation.generation_replayed", lambda **_: None)
    assert call(api, idempotency_key="order-9")["id"] == first["id"]
    assert call(api, idempotency_key="order-9", seed=1)["code"] == "idempotency_conflict"
    assert Generation.objects.count() == 1


def test_a_strangers_idempotency_key_is_another_key(api, api_of, charlie):
    assert call(api, idempotency_key="1")["id"] != call(api_of(charlie), idempotency_key="1")["id"]


def test_an_idempotency_key_that_is_too_long_is_refused(api):
    assert call(api, idempotency_key="k" * 300)["errors"][0]["field"] == "idempotency_key"
