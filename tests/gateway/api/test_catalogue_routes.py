"""Models, schedulers, account and uploads, in the shapes of each generation of the API."""

import pytest

from inference.models import Generation, ImageModel
from inference.storage import get_storage
from tests.gateway.api.conftest import opened, render
from tests.gateway.api.test_inputs import picture, stored, text
from tests.support.money import fund

pytestmark = pytest.mark.django_db


class TestModels:
    @pytest.fixture(autouse=True)
    def _more(self, catalogue):
        for number in range(3):
            ImageModel.objects.create(
                model_id=f"paint-{number}",
                name=f"Paint {number}",
                family="sdxl",
                operations=["text2img"],
                tags=["oil"],
                source="x",
                price_code="sdxl",
                published=number < 2,
            )

    @pytest.mark.parametrize("path", ["v3/dreambooth/model_list", "v4/dreambooth/model_list"])
    def test_the_older_list_is_a_bare_one(self, api, path):
        models = api.post(path)
        assert isinstance(models, list)
        assert [model["model_id"] for model in models] == ["demo", "paint-0", "paint-1"]
        assert {
            "model_id",
            "status",
            "created_at",
            "instance_prompt",
            "model_name",
            "description",
            "screenshots",
        } == set(models[0])
        assert models[0]["status"] == "model_ready"

    def test_its_error_is_the_usual_object(self, api):
        api.key = "wrong"
        assert api.post("v3/dreambooth/model_list")["code"] == "key_invalid"

    def test_the_enterprise_list(self, api):
        body = api.post("v1/enterprise/get_all_models")
        assert body["status"] == "success"
        assert set(body["models"][0]) == {"model_id", "load_data"}

    @pytest.mark.parametrize("path", ["v7/models", "v6/model-search"])
    def test_the_newer_list_searches_filters_and_pages(self, api, path):
        def ids(query):
            return [model["model_id"] for model in api.get(f"{path}?{query}")["data"]]

        assert ids("") == ["demo", "paint-0", "paint-1"]
        assert ids("search=PAINT") == ["paint-0", "paint-1"]
        assert ids("feature=inpaint") == ["demo"]
        assert ids("family=sdxl&limit=1&page=2") == ["paint-1"]
        assert ids("tag=oil") == ["paint-0", "paint-1"]
        assert ids("provider=nobody") == []
        body = api.get(f"{path}?limit=2")
        assert (body["total"], body["pages"], body["page"], body["limit"]) == (3, 2, 1, 2)

    @pytest.mark.parametrize("path", ["v7/models", "v6/model-search"])
    def test_one_model_tells_its_limits(self, api, path):
        model = api.get(f"{path}/demo")["data"]
        assert model["limits"]["samples"] == 4
        assert model["defaults"]["num_inference_steps"] == 20
        assert api.get(f"{path}/paint-2")["code"] == "model_not_found"

    def test_what_there_is_to_filter_by(self, api):
        assert api.get("v6/model-search/filters")["data"]["families"] == ["sd15", "sdxl"]
        assert api.get("v6/model-search/tags")["data"] == ["oil"]
        assert api.get("v6/model-search/providers")["data"] == ["local"]

    def test_details_of_the_system(self, api):
        body = api.post("v1/enterprise/system_details")
        assert body == {"status": "ok", "model_count": 3, "queue_time": 0}

    def test_every_scheduler_of_the_list_is_accepted(self, api):
        from gateway.api.sampling import scheduler_choice

        names = api.post("v1/enterprise/schedulers_list")["schedulers"]
        assert "UniPCMultistepScheduler" in names
        assert all(scheduler_choice(name) for name in names)

    @pytest.mark.parametrize(
        "path", ["v4/dreambooth/model_reload", "v6/images/model_reload", "v1/enterprise/verify_model"]
    )
    def test_a_listed_model_is_ready(self, api, path):
        assert api.post(path, model_id="demo")["status"] == "success"
        assert api.post(path, model_id="none-such")["code"] == "model_not_found"
        assert api.post(path)["errors"][0]["field"] == "model_id"


class TestAccount:
    def test_plan_limits_use_and_funds(self, alice, api):
        api.post("v6/images/text2img", prompt="x", model_id="demo")
        data = api.get("v7/account")["data"]
        assert data["plan"] == {"code": "free", "name": "Free"}
        assert data["limits"]["calls_per_minute"] == 10
        assert data["used"]["calls_this_minute"] == data["used"]["queued_calls"] == 1
        assert data["used"]["free_calls_today"] == 1
        assert data["funds"]["balance_microusd"] == 0

    def test_the_balance_is_what_may_be_spent(self, alice, api):
        fund(alice.account, 1_234_500)
        data = api.post("wallet_balance")["data"]
        assert (data["balance"], data["currency"], data["balance_microusd"]) == ("1.2345", "USD", 1_234_500)

    def test_a_stranger_sees_his_own(self, alice, charlie, api_of):
        fund(alice.account, 1_000_000)
        assert api_of(charlie).post("wallet_balance")["data"]["balance_microusd"] == 0

    def test_the_plan_is_the_subscribed_product(self, api):
        assert api.post("subscribed_products")["data"] == [{"code": "free", "name": "Free"}]


class TestUploads:
    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("v6/base64_to_url", "base64_string"),
            ("v6/image_editing/base64_to_url", "init_image"),
            ("v1/enterprise/upload_image", "image"),
        ],
    )
    def test_base64_gets_an_address_for_a_day(self, api, client, path, field):
        body = api.post(path, **{field: text(picture())})
        assert body["status"] == "success"
        (url,) = body["output"]
        assert "/media/temp/" in url
        assert opened(client, url)[0].headers["Content-Type"] == "image/png"
        assert not Generation.objects.exists()

    def test_the_older_one_gives_a_link_and_may_crop(self, api):
        body = api.post("v3/base64_crop", image=text(picture(size=(100, 40))), crop="true")
        assert {"status", "messege", "link", "request_id"} <= set(body)
        key = body["link"].partition("/media/")[2]
        assert stored(key).size == (512, 512)

    def test_more_than_five_megabytes_are_refused(self, api):
        import secrets

        noise = secrets.token_bytes(6 * 1024 * 1024)
        body = api.post("v6/base64_to_url", base64_string=text(noise))
        assert (body["errors"][0]["code"], body["errors"][0]["limit"]) == ("unusable_image", 5 * 1024 * 1024)

    def test_a_list_is_no_upload(self, api):
        assert api.post("v6/base64_to_url", base64_string=["a"])["errors"][0]["code"] == "invalid"

    def test_nothing_to_upload_is_a_fault(self, api):
        assert api.post("v6/base64_to_url")["errors"][0] == {
            "field": "base64_string",
            "code": "required",
            "message": "base64_string is required.",
            "value": None,
        }

    def test_uploads_count_among_the_calls_of_a_minute(self, api):
        for _ in range(10):
            assert api.post("v6/base64_to_url", base64_string=text(picture()))["status"] == "success"
        assert api.post("v6/base64_to_url", base64_string=text(picture()))["code"] == "rate_limited"


class TestDeleting:
    @pytest.fixture
    def done(self, api):
        body = api.post("v6/images/text2img", prompt="x", model_id="demo")
        render(Generation.objects.get())
        return body

    def test_by_address_or_by_id(self, api, client, done):
        url = done["future_links"][0]
        assert api.post("v3/delete_image", image=url)["status"] == "success"
        assert client.get(url).status_code == 404
        assert api.post(f"v7/images/delete/{done['id']}")["id"] == done["id"]

    def test_a_fetch_says_so_from_then_on(self, api, done):
        api.post("v3/delete_image", request_id=done["id"])
        reply = api.post(f"v7/images/fetch/{done['id']}")
        assert (reply["status"], reply["output"], reply["meta"]["prompt"]) == ("success", [], "x")
        assert reply["notes"][-1] == "The pictures of this call were deleted."

    def test_a_stranger_cannot(self, api_of, charlie, done):
        stranger = api_of(charlie)
        assert stranger.post("v3/delete_image", image=done["future_links"][0])["code"] == "generation_not_found"
        assert stranger.post("v3/delete_image", request_id=done["id"])["code"] == "generation_not_found"
        assert get_storage().exists(Generation.objects.get().spec["output_keys"][0])

    @pytest.mark.parametrize("address", ["https://x/media/generations/-0.png", "nonsense", "http://x/"])
    def test_an_unknown_address_is_not_found(self, api, done, address):
        assert api.post("v3/delete_image", image=address)["code"] == "generation_not_found"


def test_nothing_is_cached_and_that_is_said(api):
    assert api.post("v3/clear_cache")["status"] == "success"
