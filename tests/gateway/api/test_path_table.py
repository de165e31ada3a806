"""Every path that the API has ever had, written out: what answers there, with and without a trailing slash.

This list is apart from gateway/api/routes.py on purpose: a path that falls out of the table there is missed here.
"""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from tests.gateway.api.conftest import PNG

pytestmark = pytest.mark.django_db

# Generation routes that the demo model serves, and where each sends its callers to fetch.
TEXT = {
    "v3/text2img": "v3/fetch",
    "v3/dreambooth": "v3/dreambooth/fetch",
    "v4/dreambooth": "v4/dreambooth/fetch",
    "v6/images/text2img": "v6/images/fetch",
    "v6/realtime/text2img": "v6/realtime/fetch",
    "v7/images/text-to-image": "v7/images/fetch",
    "v1/enterprise/text2img": "v1/enterprise/fetch",
    "v1/enterprise/images/text2img": "v1/enterprise/images/fetch",
}
# Generation routes that need a picture: without one they name the field that is missing.
WITH_PICTURE = {
    "v3/img2img": "init_image",
    "v3/inpaint": "init_image",
    "v3/dreambooth/img2img": "init_image",
    "v3/dreambooth/inpaint": "init_image",
    "v4/dreambooth/img2img": "init_image",
    "v4/dreambooth/inpaint": "init_image",
    "v6/images/img2img": "init_image",
    "v6/images/inpaint": "init_image",
    "v6/realtime/img2img": "init_image",
    "v6/realtime/inpaint": "init_image",
    "v6/image_editing/outpaint": "image",
    "v6/image_editing/outpainting": "image",
    "v6/image_editing/inpaint": "init_image",
    "v6/image_editing/object_removal": "init_image",
    "v7/images/image-to-image": "init_image",
    "v7/images/inpaint": "init_image",
    "v1/enterprise/img2img": "init_image",
    "v1/enterprise/inpaint": "init_image",
    "v1/enterprise/images/img2img": "init_image",
    "v1/enterprise/images/inpaint": "init_image",
}
# Generation routes whose weights an installation brings itself; a fresh one says what is missing.
NEEDS_WEIGHTS = (
    "v3/super_resolution",
    "v5/super_resolution",
    "v5/removebg_mask",
    "v6/image_editing/super_resolution",
    "v6/image_editing/removebg_mask",
    "v6/image_editing/removebg",
    "v7/images/upscale",
    "v1/enterprise/super_resolution",
    "v6/image_editing/mask_creator",
    "v6/image_editing/create_mask",
)
CONTROLNET = (
    "v5/controlnet",
    "v6/images/controlnet",
    "v7/images/controlnet",
    "v1/enterprise/controlnet",
    "v1/enterprise/images/controlnet",
)
FETCH_BY_PATH = (
    "v3/fetch",
    "v3/dreambooth/fetch",
    "v6/images/fetch",
    "v6/realtime/fetch",
    "v6/image_editing/fetch",
    "v7/images/fetch",
)
FETCH_BY_BODY = ("v4/dreambooth/fetch", "v6/images/fetch", "v1/enterprise/fetch")
# Reads: the names that the reply must have. "list" is a bare JSON list.
READS = {
    "v3/system_load": {"queue_num", "queue_time", "status"},
    "v3/dreambooth/model_list": "list",
    "v4/dreambooth/model_list": "list",
    "v6/processing/request_count": {"processing_count"},
    "v1/enterprise/get_all_models": {"models", "status"},
    "v1/enterprise/schedulers_list": {"schedulers"},
    "v1/enterprise/system_details": {"model_count", "queue_time", "status"},
    "v3/clear_cache": {"status", "message", "messege"},
    "v5/clear_cache": {"status", "message", "messege"},
    "wallet_balance": {"data"},
    "assets_generated": {"data"},
    "subscribed_products": {"data"},
}
GETS = {
    "v6/model-search": {"data"},
    "v6/model-search/filters": {"data"},
    "v6/model-search/tags": {"data"},
    "v6/model-search/providers": {"data"},
    "v6/model-search/demo": {"data"},
    "v7/models": {"data"},
    "v7/images": {"data"},
    "v7/account": {"data"},
}
# What this service does not do says so, with its own code, and never 404 or 500.
ABSENT = {
    "v3/load_model": "not_offered",
    "v3/finetune_list": "not_offered",
    "v3/lora_fine_tune": "not_offered",
    "v3/fine_tune_status/7": "not_offered",
    "v3/cancel_training/7": "not_offered",
    "v3/finetune/delete/7": "not_offered",
    "v5/outpaint": "not_offered",
    "v5/interior": "not_offered",
    "v5/magic_mix": "capability_missing",
    "v5/pix2pix": "capability_missing",
    "v5/text2video": "not_offered",
    "v6/video/text2video": "not_offered",
    "v6/video/img2video": "not_offered",
    "v7/video-fusion/text-to-video": "not_offered",
    "v7/video-fusion/image-to-video": "not_offered",
    "v1/enterprise/load_model": "not_offered",
    "v1/enterprise/delete_model": "not_offered",
    "check_nsfw_cp": "not_offered",
    "v3/nsfw_image_check": "capability_missing",
    "v6/image_editing/face_gen": "capability_missing",
    "v6/image_editing/head_shot": "capability_missing",
    "v6/image_editing/flux_headshot": "capability_missing",
    "v6/image_editing/fashion": "capability_missing",
    "v6/image_editing/img_mixer": "capability_missing",
    "v6/image_editing/qwen_edit": "capability_missing",
    "v6/image_editing/caption": "capability_missing",
}
SLASHES = pytest.mark.parametrize("slash", ["", "/"])


@SLASHES
@pytest.mark.parametrize("path", TEXT)
def test_text_becomes_a_picture(api, path, slash):
    body = api.post(path + slash, prompt="a red circle", width="64", height="64")
    assert (api.status, body["status"]) == (200, "processing")
    assert body["fetch_result"] == f"http://testserver/api/{TEXT[path]}/{body['id']}"


@SLASHES
@pytest.mark.parametrize("path", WITH_PICTURE)
def test_a_route_that_needs_a_picture_asks_for_it(api, path, slash):
    body = api.post(path + slash, prompt="a red circle")
    assert (api.status, body["code"]) == (400, "invalid_request"), body
    assert WITH_PICTURE[path] in {fault["field"] for fault in body["errors"]}
    assert body["message"] == body["messege"]


@SLASHES
@pytest.mark.parametrize("path", NEEDS_WEIGHTS)
def test_a_route_without_its_weights_says_what_is_missing(api, path, slash):
    body = api.post(path + slash)
    assert (api.status, body["code"]) == (503, "capability_missing")
    assert body["message"] == body["messege"] != ""


@SLASHES
@pytest.mark.parametrize("path", CONTROLNET)
def test_controlnet_asks_for_its_kind(api, path, slash):
    body = api.post(path + slash, prompt="a red circle")
    assert api.status == 400
    assert "controlnet_model" in {fault["field"] for fault in body["errors"]}


@SLASHES
@pytest.mark.parametrize("path", FETCH_BY_PATH)
def test_a_call_is_fetched_by_the_id_in_the_path(api, path, slash):
    made = api.post("v7/images/text-to-image", prompt="x")["id"]
    for answer in (api.post(f"{path}/{made}{slash}"), api.get(f"{path}/{made}{slash}")):
        assert (api.status, answer["id"], answer["output"]) == (200, made, [])
    assert api.post(f"{path}/1{slash}")["status"] == "error"
    assert api.status == 404


@SLASHES
@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("path", FETCH_BY_BODY)
def test_a_call_is_fetched_by_the_id_in_the_body(api, path, kind, slash):
    made = api.post("v7/images/text-to-image", prompt="x")["id"]
    assert api.post(path + slash, request_id=kind(made))["id"] == made


@SLASHES
@pytest.mark.parametrize("path", READS)
def test_reads_answer_in_their_documented_shape(api, path, slash):
    _has(api.post(path + slash), READS[path])
    assert api.status == 200


@SLASHES
@pytest.mark.parametrize("path", GETS)
def test_reads_by_get_take_their_key_from_the_query_too(api, path, slash):
    _has(api.get(path + slash), GETS[path])
    assert api.status == 200
    by_query = api.client.get(f"/api/{path}{slash}?key={api.key}")
    assert by_query.status_code == 200


@SLASHES
@pytest.mark.parametrize("path", ["v4/dreambooth/model_reload", "v6/images/model_reload", "v1/enterprise/verify_model"])
def test_a_model_is_ready_or_not_found(api, path, slash):
    assert api.post(path + slash, model_id="demo")["status"] == "success"
    assert api.post(path + slash, model_id="nobody")["code"] == "model_not_found"
    assert api.status == 404


@SLASHES
@pytest.mark.parametrize(
    ("path", "field", "answer"),
    [
        ("v6/base64_to_url", "base64_string", "output"),
        ("v6/image_editing/base64_to_url", "init_image", "output"),
        ("v1/enterprise/upload_image", "image", "output"),
        ("v3/base64_crop", "image", "link"),
    ],
)
def test_a_picture_gets_an_address(api, path, field, answer, slash):
    body = api.post(path + slash, **{field: base64.b64encode(PNG + b"no picture").decode()})
    assert (api.status, body["errors"][0]["field"]) == (400, field)
    body = api.post(path + slash, **{field: _drawn()})
    assert body["status"] == "success"
    assert answer in body


@SLASHES
def test_a_picture_is_deleted(api, slash):
    made = api.post("v7/images/text-to-image", prompt="x")["id"]
    assert api.post(f"v3/delete_image{slash}", request_id=made)["status"] == "success"


@SLASHES
@pytest.mark.parametrize("path", ABSENT)
def test_what_is_not_done_here_says_so(api, path, slash):
    body = api.post(path + slash, prompt="x")
    assert (body["status"], body["code"]) == ("error", ABSENT[path])
    assert api.status in (403, 503)
    assert body["message"] == body["messege"] != ""


@pytest.mark.parametrize("path", [*TEXT, *WITH_PICTURE, *NEEDS_WEIGHTS, *CONTROLNET, *READS, *GETS, *ABSENT])
def test_nothing_answers_without_a_key(api_of, path):
    stranger = api_of(None)
    body = stranger.get(path) if path in GETS else stranger.post(path, prompt="x")
    assert (stranger.status, body["code"]) == (401, "key_missing")


def test_what_was_never_a_route_is_said_to_be_none(api):
    for path in ("v6/images/flux", "v6/images/lora", "v8/images/text2img", "v3", ""):
        assert api.post(path, prompt="x")["code"] == "route_not_found"
        assert api.status == 404
    assert api.get("v6/images/text2img")["code"] == "method_not_allowed"
    assert api.status == 405


def _has(body, names):
    if names == "list":
        assert isinstance(body, list)
    else:
        assert names <= set(body)


def _drawn():
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 0, 0)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
