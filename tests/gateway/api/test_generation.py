"""The generation routes: what they accept, what they reply, what stands in the table afterwards."""

from __future__ import annotations

import pytest
from django.utils import timezone

from billing.models import UsageDay, Wallet
from inference.models import Generation, ImageModel
from tests.gateway.api.conftest import opened, render
from tests.support.money import fund, move_to

pytestmark = pytest.mark.django_db

TEXT_ROUTES = (
    "v3/text2img",
    "v3/dreambooth",
    "v4/dreambooth",
    "v6/images/text2img",
    "v6/realtime/text2img",
    "v7/images/text-to-image",
    "v1/enterprise/text2img",
    "v1/enterprise/images/text2img",
)
FETCH = {
    "v3/text2img": "v3/fetch",
    "v3/dreambooth": "v3/dreambooth/fetch",
    "v4/dreambooth": "v4/dreambooth/fetch",
    "v6/images/text2img": "v6/images/fetch",
    "v6/realtime/text2img": "v6/realtime/fetch",
    "v7/images/text-to-image": "v7/images/fetch",
    "v1/enterprise/text2img": "v1/enterprise/fetch",
    "v1/enterprise/images/text2img": "v1/enterprise/images/fetch",
}


@pytest.fixture
def spec(only_generation):
    """The order of the one generation that stands in the table."""
    return lambda: only_generation().spec


@pytest.mark.parametrize("path", TEXT_ROUTES)
def test_a_call_is_accepted_and_promises_its_pictures(api, path):
    body = api.post(path, prompt="a red circle", model_id="demo", width="256", height=256)
    assert api.status == 200
    assert body["status"] == "processing"
    generation = Generation.objects.get(pk=body["id"])
    assert body["output"] == []
    assert body["future_links"] == [f"http://testserver/media/generations/{generation.token}-0.png"]
    assert body["fetch_result"] == f"http://testserver/api/{FETCH[path]}/{generation.pk}"
    assert type(body["eta"]) is int
    assert body["eta"] >= 1
    assert body["message"] == body["messege"]
    assert body["queue_position"] == 0
    assert body["request_id"] == api.last.headers["X-Request-Id"]
    assert (generation.endpoint, generation.api_version) == (path, path[:2])


def test_a_call_that_finishes_while_it_waits_is_answered_with_its_pictures(api, instant, settings):
    settings.WAIT_TIMEOUT_S = 5
    body = api.post("v6/images/text2img", prompt="a red circle", model_id="demo", samples=2, seed=7)
    generation = Generation.objects.get()
    assert body["status"] == "success"
    assert body["id"] == generation.pk
    assert body["output"] == [f"http://testserver/media/generations/{generation.token}-{i}.png" for i in (0, 1)]
    assert body["proxy_links"] == body["output"]
    assert type(body["generationTime"]) is float
    assert body["generationTime"] == 1.2
    assert body["nsfw_content_detected"] is False
    assert body["meta"]["seed"] == 7


def test_a_call_may_ask_to_be_answered_at_once(api, instant, settings):
    settings.WAIT_TIMEOUT_S = 5
    assert api.post("v6/realtime/text2img", prompt="x", instant_response="yes")["status"] == "processing"
    assert api.post("v6/realtime/text2img", prompt="x", instant_response="no")["status"] == "success"


def test_the_pictures_stand_where_they_were_promised(api, client, only_generation):
    link = api.post("v7/images/text-to-image", prompt="x", model_id="demo")["future_links"][0]
    assert client.get(link).status_code == 404
    render(only_generation())
    assert opened(client, link)[0].status_code == 200


def test_temporary_pictures_are_promised_under_a_name_that_dies(api, spec, settings):
    body = api.post("v6/images/text2img", prompt="x", model_id="demo", temp="yes")
    assert spec()["output_keys"][0].startswith("temp/")
    assert "/media/temp/" in body["future_links"][0]
    assert body["meta"]["temp"] == "yes"


def test_base64_replies_hold_the_pictures_themselves(api, instant, settings):
    settings.WAIT_TIMEOUT_S = 5
    body = api.post("v6/images/text2img", prompt="x", model_id="demo", base64="true")
    assert body["output"][0].startswith("iVBORw0KGg")
    assert body["future_links"][0].startswith("http://testserver/media/")


def test_base64_may_come_as_addresses_of_texts_as_the_older_service_did(api, client, instant, settings):
    settings.WAIT_TIMEOUT_S, settings.BASE64_OUTPUT = 5, "url"
    (url,) = api.post("v6/images/text2img", prompt="x", model_id="demo", base64="yes")["output"]
    assert url.endswith("-0.txt")
    response, text = opened(client, url)
    assert response.headers["Content-Type"].startswith("text/plain")
    assert text.startswith(b"iVBORw0KGg")


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_the_models_own_numbers_serve_where_the_call_has_none(api, spec):
    ImageModel.objects.filter(model_id="demo").update(
        width_px_default=320, height_px_default=192, steps_default=13, guidance_scale_default=4.5
    )
    api.post("v6/images/text2img", prompt="x", model_id="demo")
    drawn = spec()
    assert (drawn["width_px"], drawn["height_px"]) == (320, 192)
    assert (drawn["num_inference_steps"], drawn["guidance_scale"]) == (13, 4.5)


def test_a_call_without_a_model_gets_the_installations_default(api, spec):
    api.post("v3/text2img", prompt="x")
    assert spec()["model"]["model_id"] == "demo"


def test_numbers_are_read_from_texts(api, spec):
    api.post("v6/images/text2img", prompt="x", model_id="demo", samples="2", guidance_scale="3.5", steps="9", seed="5")
    drawn = spec()
    assert (drawn["samples"], drawn["guidance_scale"], drawn["num_inference_steps"], drawn["seed"]) == (2, 3.5, 9, 5)
    assert len(drawn["output_keys"]) == 2


def test_steps_beyond_the_cap_are_capped_and_told(api, spec):
    ImageModel.objects.filter(model_id="demo").update(steps_max=20)
    body = api.post("v6/images/text2img", prompt="x", model_id="demo", num_inference_steps="31")
    assert spec()["num_inference_steps"] == body["meta"]["steps"] == body["meta"]["num_inference_steps"] == 20
    assert body["meta"]["adjusted"] == [
        {"field": "num_inference_steps", "asked": 31, "used": 20, "why": "num_inference_steps is at most 20"}
    ]


def test_sizes_are_rounded_down_to_a_multiple_of_eight(api):
    meta = api.post("v6/images/text2img", prompt="x", model_id="demo", width=263, height="300")["meta"]
    assert (meta["W"], meta["H"], meta["width"], meta["height"]) == (256, 296, 256, 296)
    assert [change["field"] for change in meta["adjusted"]] == ["width", "height"]


def test_sizes_beyond_the_models_are_refused_with_field_value_and_limit(api):
    ImageModel.objects.filter(model_id="demo").update(side_px_max=512)
    body = api.post("v6/images/text2img", prompt="x", model_id="demo", width=4096, height=8)
    assert api.status == 400
    assert body["errors"] == [
        {
            "field": "width",
            "code": "too_large",
            "message": "width is 4096; the model demo draws at most 512 pixels a side.",
            "value": 4096,
            "limit": 512,
        },
        {
            "field": "height",
            "code": "too_small",
            "message": "height is 8; the model demo draws at least 64 pixels a side.",
            "value": 8,
            "limit": 64,
        },
    ]
    assert not Generation.objects.exists()


@pytest.mark.parametrize(("ratio", "wide"), [("1:1", 0), ("16:9", 1), ("9:16", -1), ("21:9", 1)])
def test_an_aspect_ratio_shapes_the_models_own_area(api, spec, ratio, wide):
    ImageModel.objects.filter(model_id="demo").update(width_px_default=512, height_px_default=512, side_px_max=1024)
    api.post("v7/images/text-to-image", prompt="x", model_id="demo", aspect_ratio=ratio)
    width_px, height_px = spec()["width_px"], spec()["height_px"]
    assert width_px % 8 == height_px % 8 == 0
    assert 0.9 < width_px * height_px / 512**2 <= 1.0
    assert (width_px > height_px) - (width_px < height_px) == wide


@pytest.mark.parametrize("seed", [None, -1, "-1", "", "null", "absent"])
def test_any_seed_is_drawn_and_told(api, seed):
    fields = {} if seed == "absent" else {"seed": seed}
    first = api.post("v6/images/text2img", prompt="x", model_id="demo", **fields)["meta"]["seed"]
    second = api.post("v6/images/text2img", prompt="x", model_id="demo", **fields)["meta"]["seed"]
    assert type(first) is int
    assert first != second


def test_image_k_of_a_call_uses_its_seed_plus_k(api):
    meta = api.post("v6/images/text2img", prompt="x", model_id="demo", seed=5, samples=3)["meta"]
    assert (meta["seed"], meta["seeds"]) == (5, [5, 6, 7])


@pytest.mark.parametrize(
    ("name", "sent", "shown"),
    [
        ("EulerDiscreteScheduler", "EulerDiscreteScheduler", "EulerDiscreteScheduler"),
        ("euler", "EulerDiscreteScheduler", "EulerDiscreteScheduler"),
        ("DPM++ 2M Karras", "DPM++ 2M Karras", "DPMSolverMultistepScheduler"),
        ("KarrasVeScheduler", "KarrasVeScheduler", "HeunDiscreteScheduler"),
    ],
)
def test_schedulers_have_many_names(api, spec, name, sent, shown):
    body = api.post("v6/images/text2img", prompt="x", model_id="demo", scheduler=name)
    assert spec()["scheduler"] == sent
    assert body["meta"]["scheduler"] == shown


def test_karras_sigmas_follow_the_documentation_of_each_generation(api):
    def used(path, **fields):
        return api.post(path, prompt="x", model_id="demo", **fields)["meta"]["use_karras_sigmas"]

    assert used("v6/images/text2img", scheduler="EulerDiscreteScheduler") == "yes"
    assert used("v6/images/text2img", scheduler="EulerDiscreteScheduler", use_karras_sigmas="no") == "no"


def test_clip_skip_counts_as_the_api_does(api, spec):
    body = api.post("v6/images/text2img", prompt="x", model_id="demo", clip_skip="2")
    assert spec()["clip_skip"] == 1
    assert body["meta"]["clip_skip"] == 2


@pytest.mark.parametrize(("asked", "used"), [({}, False), ({"deterministic": "yes"}, True)])
def test_a_call_may_keep_out_of_shared_forwards(api, spec, asked, used):
    meta = api.post("v6/images/text2img", prompt="x", model_id="demo", **asked)["meta"]
    assert spec()["deterministic"] is used
    assert meta["deterministic"] == ("yes" if used else "no")


@pytest.mark.parametrize(("asked", "factor"), [("yes", 2), (True, 2), ("3", 3), ("no", None), ("1", None), (0, None)])
def test_upscale_is_yes_or_a_factor(api, spec, asked, factor):
    api.post("v6/images/text2img", prompt="x", model_id="demo", upscale=asked)
    upscale = spec()["upscale"]
    assert (upscale and upscale["factor"]) == factor


@pytest.mark.parametrize(("path", "enabled"), [("v3/text2img", True), ("v6/images/text2img", False)])
def test_the_safety_checker_follows_the_documentation_of_each_generation(api, spec, path, enabled):
    api.post(path, prompt="x", safety_checker_type="blur")
    assert spec()["safety"] == {"enabled": enabled, "action": "blur"}


def test_every_fault_is_told_at_once(api):
    body = api.post(
        "v6/images/text2img",
        model_id="demo",
        width="wide",
        height=9000,
        seed="abc",
        scheduler="Magic",
        safety_checker="perhaps",
        webhook="ftp://x",
        safety_checker_type="sepia",
        track_id=["a"],
    )
    assert api.status == 400
    assert body["code"] == "invalid_request"
    faults = {fault["field"]: fault["code"] for fault in body["errors"]}
    assert faults == {
        "prompt": "required",
        "width": "invalid",
        "height": "too_large",
        "seed": "invalid",
        "scheduler": "unknown",
        "safety_checker": "invalid",
        "safety_checker_type": "unknown",
        "webhook": "invalid_url",
        "track_id": "invalid",
    }
    assert all(fault["message"] in body["message"] for fault in body["errors"])
    assert not Generation.objects.exists()


def test_words_that_the_operator_blocks_refuse_a_prompt(api, settings):
    settings.PROMPT_BLOCKLIST = ["forbidden fruit"]
    body = api.post("v6/images/text2img", prompt="a Forbidden  FRUIT on a table", model_id="demo")
    assert body["errors"][0]["code"] == "prompt_blocked"
    assert api.post("v6/images/text2img", prompt="fruit", model_id="demo")["status"] == "processing"


@pytest.mark.parametrize("track_id", [17, "17", "abc", 3.5, None])
def test_the_callers_mark_is_kept_unchanged(api, only_generation, track_id):
    body = api.post("v6/images/text2img", prompt="x", model_id="demo", track_id=track_id)
    kept = only_generation().track_id
    assert kept == track_id
    assert type(kept) is type(track_id)
    assert body["meta"]["track_id"] == track_id


def test_a_webhook_is_kept_for_the_end(api, only_generation):
    api.post("v6/images/text2img", prompt="x", model_id="demo", webhook="https://example.com/hook")
    assert only_generation().webhook_url == "https://example.com/hook"


@pytest.mark.parametrize("webhook", [None, "", "null", "none", 0, "0", False, "no"])
def test_a_webhook_may_be_absent_in_any_way(api, only_generation, webhook):
    api.post("v6/images/text2img", prompt="x", model_id="demo", webhook=webhook)
    assert only_generation().webhook_url == ""


def test_unknown_fields_are_ignored_and_kept_in_the_log(api, only_generation):
    api.post("v6/images/text2img", prompt="x", model_id="demo", colour="green", deep={"a": 1})
    asked = only_generation().asked
    assert (asked["colour"], asked["deep"]) == ("green", {"a": 1})


def test_the_log_keeps_no_pictures_and_no_masses(api, only_generation):
    api.post("v6/images/text2img", prompt="x", model_id="demo", init_image="A" * 9000, junk="j" * 9000, deep=[1] * 9000)
    asked = only_generation().asked
    assert asked["init_image"] == "[picture]"
    assert asked["deep"] == "[structure]"
    assert len(asked["junk"]) < 1100


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_free_call_costs_nothing(api):
    body = api.post("v6/images/text2img", prompt="x", model_id="demo")
    assert (body["cost"], body["cost_microusd"]) == ("0.0000", 0)


def test_a_paid_call_tells_what_is_held_and_then_what_was_charged(alice, api, only_generation):
    fund(alice.account, 1_000_000)
    move_to(alice.account, "payg")
    UsageDay.objects.create(account_id=alice.account.pk, day=timezone.now().date(), calls=10_000)
    held = api.post("v6/images/text2img", prompt="x", model_id="demo", samples=2)
    assert held["cost_microusd"] == 4_000
    render(only_generation(), images=1)
    charged = api.post(f"v6/images/fetch/{held['id']}")
    assert (charged["cost"], charged["cost_microusd"]) == ("0.0020", 2_000)
    assert len(charged["output"]) == 1


@pytest.mark.parametrize(
    ("prompt", "drawn"), [("a dog", "zkw style, a dog"), ("a dog in ZKW style", "a dog in ZKW style")]
)
def test_the_words_that_a_model_listens_to_are_put_in_front(api, spec, prompt, drawn):
    ImageModel.objects.filter(model_id="demo").update(trigger_words="zkw style")
    meta = api.post("v6/images/text2img", prompt=prompt, model_id="demo")["meta"]
    assert meta["prompt"] == spec()["prompt"] == drawn


@pytest.mark.parametrize("seed", [-2, 2**53, "9" * 30])
def test_a_seed_that_cannot_be_kept_exactly_is_refused(api, seed):
    fault = api.post("v6/images/text2img", prompt="x", model_id="demo", seed=seed)["errors"][0]
    assert (fault["field"], fault["limit"]) == ("seed", 2**53 - 2)


@pytest.mark.parametrize(
    ("name", "used"), [("sde-dpmsolver++", "sde-dpmsolver++"), ("dpmsolver+++", "dpmsolver++"), ("none", None)]
)
def test_algorithms_have_their_documented_spellings(api, spec, name, used):
    fields = {"scheduler": "DPMSolverMultistepScheduler", "algorithm_type": name}
    api.post("v6/images/text2img", prompt="x", model_id="demo", **fields)
    assert spec()["algorithm_type"] == used


def test_an_unknown_algorithm_is_refused(api):
    fields = {"scheduler": "DPMSolverMultistepScheduler", "algorithm_type": "magic"}
    assert api.post("v6/images/text2img", prompt="x", **fields)["errors"][0]["code"] == "unknown"


def test_a_scheduler_of_another_kind_is_refused(api):
    assert api.post("v6/images/text2img", prompt="x", scheduler=["Euler"])["errors"][0]["code"] == "invalid"


@pytest.mark.parametrize("factor", [9, -3])
def test_a_picture_is_not_enlarged_beyond_reason(api, factor):
    assert api.post("v6/images/text2img", prompt="x", upscale=factor)["errors"][0]["field"] == "upscale"


def test_the_log_keeps_addresses_of_pictures_and_no_picture_of_a_list(api, only_generation):
    api.post("v6/images/text2img", prompt="x", init_image=["https://example.com/a.png", "QUJD"])
    assert only_generation().asked["init_image"] == ["https://example.com/a.png", "[picture]"]


def test_a_request_of_a_thousand_fields_is_kept_in_part(api, only_generation):
    api.post("v6/images/text2img", prompt="x", **{f"field{number}": number for number in range(1000)})
    assert len(only_generation().asked) == 120


def test_a_plan_without_a_limit_per_minute_has_no_headers_of_one(alice, api):

    Wallet.objects.filter(pk=alice.account.pk).update(overrides={"calls_per_minute": None})
    api.post("v6/images/text2img", prompt="x")
    assert "RateLimit-Limit" not in api.last.headers
