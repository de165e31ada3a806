"""Whatever comes, the answer is JSON of the API's shape and never a 5xx of ours."""

import string

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.api.routes import ROUTES
from gateway.caching import caches_clear

pytestmark = pytest.mark.django_db
FIELDS = """
    prompt negative_prompt model_id width height samples num_inference_steps steps guidance_scale seed strength
    init_image mask_image control_image image scheduler use_karras_sigmas algorithm_type clip_skip upscale vae
    lora_model lora_strength embeddings_model controlnet_model controlnet_conditioning_scale auto_hint guess_mode
    ip_adapter_id ip_adapter_scale ip_adapter_image base64 temp instant_response webhook track_id safety_checker
    safety_checker_type enhance_prompt enhance_style aspect_ratio scale overlap_width request_id id idempotency_key
    injected_noise_alpha zero_steps use_zero_init specific_object only_mask limit page cursor search feature key
"""
NAMES = FIELDS.split()
PLAIN = ["", "null", "none", "yes", "no", "true", "-1", "0", "1", "512", "16:9", "canny", "demo", "a,b,c", "DDIM"]
ODD = [
    "1e3",
    "nan",
    "inf",
    "9" * 400,
    "https://x/a.png",
    "http://127.0.0.1/",
    "data:image/png;base64,AAAA",
    "\x00",
    "😀",
]
SPELLINGS = st.sampled_from(PLAIN + ODD)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SCALARS = st.none() | st.booleans() | NUMBERS | SPELLINGS | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
BODIES = st.dictionaries(st.sampled_from(NAMES) | TEXTS, VALUES, max_size=12)
DRAWING = st.sampled_from(["v3/text2img", "v6/images/text2img", "v7/images/text-to-image"])
PATHS = st.sampled_from(sorted({route.path for route in ROUTES}))
# What asks for capacity is an honest 503: this installation has no such model.
HONEST_503 = {"capability_missing"}
FUZZ = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def rich(alice):
    """Alice on a plan without limits to speak of, so that calls reach the work behind them."""
    from billing.models import Wallet
    from tests.support.money import move_to

    move_to(alice.account, "enterprise")
    Wallet.objects.filter(pk=alice.account.pk).update(overrides={"calls_per_minute": 10**6, "queued_calls": 10**6})
    caches_clear()
    return alice


def assert_civil(api, body):
    if api.status >= 500:
        assert body["code"] in HONEST_503, body
    if isinstance(body, dict) and body["status"] == "error":
        assert body["message"] == body["messege"]
        assert body["code"]
        assert api.status >= 400


@FUZZ
@given(path=PATHS | DRAWING, given_id=TEXTS, body=BODIES, prompted=st.booleans())
@example(path="v6/images/text2img", given_id="", body={"track_id": 2**64 - 1}, prompted=True)
@example(path="v6/images/text2img", given_id="", body={"negative_prompt": "x" * 20_000}, prompted=True)
@example(path="v6/images/text2img", given_id="", body={"x": "\x00", "deep": {"\x00": "\x00"}}, prompted=True)
@example(path="v6/images/text2img", given_id="", body={"samples": 1e300, "guidance_scale": 1e300}, prompted=True)
@example(path="v7/images", given_id="", body={}, prompted=False)
def test_no_body_of_any_fields_breaks_any_route(rich, api_of, path, given_id, body, prompted):
    api = api_of(rich)
    body = {**body, "prompt": "x", "model_id": "demo"} if prompted else body
    path = path.replace("{id}", "".join(c for c in given_id if c in string.printable.strip("?#/")) or "1")
    assert_civil(api, api.send(path, orjson.dumps(body | {"key": rich.key})))


@FUZZ
@given(raw=st.binary(max_size=60), content_type=st.sampled_from(["application/json", "text/plain", "x/y", ""]))
@example(raw=b'{"a":' * 2000, content_type="application/json")
@example(raw=b"a=" * 5000, content_type="application/x-www-form-urlencoded")
@example(raw=b"&".join(b"a%d=1" % i for i in range(2000)), content_type="application/x-www-form-urlencoded")
def test_no_bytes_break_the_door(rich, api_of, raw, content_type):
    api = api_of(rich)
    assert_civil(api, api.send("v6/images/text2img", raw, content_type=content_type, HTTP_KEY=rich.key))


@FUZZ
@given(prompt=TEXTS, extra=st.dictionaries(TEXTS, VALUES, max_size=4), track_id=SCALARS)
@example(prompt="x", extra={"deep": 1e300, "samples": "9" * 400}, track_id=1e300)
@example(prompt="x", extra={"seed": 1e300}, track_id=6.5e16)
def test_an_accepted_call_can_be_fetched_and_listed_whatever_came_with_it(rich, api_of, prompt, extra, track_id):
    api = api_of(rich)
    body = api.send(
        "v6/images/text2img",
        orjson.dumps({"prompt": prompt, "track_id": track_id, "key": rich.key, **extra, "x": extra}),
    )
    assert_civil(api, body)
    if body["status"] == "processing":
        assert api.post(f"v7/images/fetch/{body['id']}")["meta"] == body["meta"]
        assert api.get("v7/images")["data"][0]["id"] == body["id"]
