"""What joins a model: LoRAs, embeddings, VAEs, ControlNets, IP-Adapters; by the catalogue's ids."""

import pytest

from inference.models import Adapter, Generation, ImageModel
from tests.gateway.api.test_inputs import picture, text

pytestmark = pytest.mark.django_db
CALL = "v6/images/text2img"


@pytest.fixture(autouse=True)
def _shelf(catalogue):
    for adapter_id, kind, control_kind in (
        ("ink", "lora", ""),
        ("clay", "lora", ""),
        ("calm", "embedding", ""),
        ("soft-vae", "vae", ""),
        ("ip-adapter_sd15", "ip_adapter", ""),
        ("control-canny", "controlnet", "canny"),
        ("control-depth", "controlnet", "depth"),
    ):
        Adapter.objects.create(
            adapter_id=adapter_id,
            kind=kind,
            control_kind=control_kind,
            family="sd15",
            name=adapter_id,
            source=f"{adapter_id}.safetensors",
        )


def call(api, path=CALL, **fields):
    return api.post(path, **{"prompt": "x", "model_id": "demo", **fields})


def spec():
    return Generation.objects.get().spec


def test_loras_come_between_commas_with_their_strengths(api):
    body = call(api, lora_model="ink, clay", lora_strength="0.5,0.7")
    assert [(lora["adapter_id"], lora["strength"]) for lora in spec()["loras"]] == [("ink", 0.5), ("clay", 0.7)]
    assert (body["meta"]["lora"], body["meta"]["lora_strength"]) == ("ink,clay", "0.5,0.7")


@pytest.mark.parametrize(("strength", "used"), [(None, 1.0), (0.4, 0.4), ("0.4", 0.4), (9, 2.0)])
def test_one_strength_serves_every_lora(api, strength, used):
    call(api, lora_model="ink,clay", lora_strength=strength)
    assert {lora["strength"] for lora in spec()["loras"]} == {used}


def test_embeddings_and_a_vae_are_found_by_their_ids(api):
    body = call(api, embeddings_model="calm", vae="soft-vae")
    assert spec()["embeddings"][0]["source"] == "calm.safetensors"
    assert spec()["vae"]["adapter_id"] == "soft-vae"
    assert (body["meta"]["embeddings"], body["meta"]["vae"]) == ("calm", "soft-vae")


@pytest.mark.parametrize(("field", "kind"), [("lora_model", "lora"), ("embeddings_model", "embedding"), ("vae", "vae")])
def test_an_unknown_adapter_is_404_with_the_family_it_must_be_of(api, field, kind):
    body = call(api, **{field: "nobody"})
    assert (api.status, body["code"]) == (404, "adapter_not_found")
    assert (body["kind"], body["adapter_id"], body["family"]) == (kind, "nobody", "sd15")


@pytest.mark.parametrize(
    ("field", "value", "used"),
    [("lora_model", "lora_model_id", []), ("lora", "lora_model_id", []), ("lora_model", "ink,lora_model_id", ["ink"])],
)
def test_the_placeholder_of_an_example_names_no_lora_and_the_reply_says_so(api, field, value, used):
    body = call(api, **{field: value})
    assert api.status == 200
    assert [lora["adapter_id"] for lora in spec()["loras"]] == used
    assert [one["asked"] for one in body["meta"].get("adjusted", [])] == (["lora_model_id"] if field != "lora" else [])


@pytest.mark.parametrize("field", ["embeddings", "embeddings_model"])
def test_the_placeholder_of_an_example_names_no_embedding(api, field):
    body = call(api, **{field: "embeddings_model_id"})
    assert spec()["embeddings"] == []
    assert body["meta"]["adjusted"] == [
        {
            "field": field,
            "asked": "embeddings_model_id",
            "used": None,
            "why": f"{field} names nothing: it is an example's placeholder",
        }
    ]


def test_too_many_adapters_are_refused(api):
    assert call(api, lora_model=",".join(["ink"] * 9))["errors"][0]["code"] == "too_many"


def test_an_ip_adapter_comes_with_its_picture(api):
    body = call(api, ip_adapter_id="ip-adapter_sd15", ip_adapter_scale=0.6, ip_adapter_image=text(picture()))
    assert spec()["ip_adapter"]["scale"] == 0.6
    assert spec()["ip_adapter"]["image"].startswith("inputs/")
    assert body["meta"]["ip_adapter_id"] == "ip-adapter_sd15"
    missing = call(api, ip_adapter_id="ip-adapter_sd15")
    assert missing["errors"][0]["field"] == "ip_adapter_image"


class TestFlux:
    """Flow models ignore what the documentation says that they ignore."""

    @pytest.fixture(autouse=True)
    def _flux(self, _shelf):
        ImageModel.objects.filter(model_id="demo").update(family="flux", steps_max=50)

    def test_what_is_ignored_is_neither_looked_up_nor_used(self, api):
        call(
            api,
            negative_prompt="ugly",
            vae="nobody",
            clip_skip=4,
            upscale="yes",
            enhance_prompt="yes",
            embeddings_model="nobody",
            ip_adapter_id="nobody",
            highres_fix="yes",
        )
        drawn = spec()
        assert drawn["negative_prompt"] == ""
        assert (drawn["vae"], drawn["upscale"], drawn["ip_adapter"]) == (None, None, None)
        assert (drawn["clip_skip"], drawn["enhance_prompt"], drawn["highres_fix"]) == (0, False, False)

    def test_sizes_follow_its_larger_grid(self, api):
        call(api, width=264, height=256)
        assert (spec()["width_px"], spec()["height_px"]) == (256, 256)

    def test_guidance_has_its_other_name(self, api):
        call(api, guidance=2.5)
        assert spec()["guidance_scale"] == 2.5


class TestControl:
    PATHS = ("v5/controlnet", "v6/images/controlnet", "v7/images/controlnet", "v1/enterprise/controlnet")

    @pytest.mark.parametrize("path", PATHS)
    def test_the_hint_is_derived_from_the_picture(self, api, path):
        body = call(api, path, controlnet_model="canny", init_image=text(picture()))
        drawn = spec()
        assert drawn["operation"] == "text2img"
        assert len(drawn["init_images"]) == 1
        (control,) = drawn["controls"]
        assert (control["kind"], control["source"]) == ("canny", "control-canny.safetensors")
        assert (control["auto_hint"], control["image"], control["scale"]) == (True, None, 1.0)
        meta = body["meta"]
        assert (meta["controlnet_model"], meta["controlnet_type"], meta["auto_hint"]) == ("canny", "canny", "yes")
        assert (meta["controlnet_conditioning_scale"], meta["guess_mode"], meta["strength"]) == ("1", "no", 0.55)

    def test_a_given_hint_replaces_the_derived_one(self, api):
        call(api, "v5/controlnet", controlnet_model="canny", control_image=text(picture()))
        (control,) = spec()["controls"]
        assert control["image"].startswith("inputs/")
        assert control["auto_hint"] is False

    def test_several_at_once_each_with_its_scale(self, api):
        call(
            api,
            "v5/controlnet",
            controlnet_model="canny,depth",
            controlnet_conditioning_scale="0.4,1.5",
            init_image=text(picture()),
        )
        assert [(c["kind"], c["scale"]) for c in spec()["controls"]] == [("canny", 0.4), ("depth", 1.5)]

    def test_a_text_route_with_a_controlnet_is_one(self, api):
        call(api, "v7/images/text-to-image", controlnet_model="canny", init_image=text(picture()))
        assert len(spec()["controls"]) == 1

    def test_it_draws_from_the_picture_when_told_how_far_to_depart_from_it(self, api):
        call(api, "v5/controlnet", controlnet_model="canny", init_image=text(picture()), strength="0.4")
        assert (spec()["operation"], spec()["strength"]) == ("img2img", 0.4)

    def test_with_a_mask_it_inpaints(self, api):
        images = {"init_image": text(picture()), "mask_image": text(picture())}
        call(api, "v5/controlnet", controlnet_model="canny", **images)
        assert spec()["operation"] == "inpaint"
        assert spec()["mask_image"].startswith("inputs/")

    def test_guessing_needs_no_prompt(self, api):
        body = call(
            api, "v5/controlnet", controlnet_model="canny", init_image=text(picture()), guess_mode="yes", prompt=None
        )
        assert body["status"] == "processing"
        assert spec()["guess_mode"] is True

    def test_one_that_nobody_added_names_what_to_add(self, api):
        body = call(api, "v5/controlnet", controlnet_model="openpose", init_image=text(picture()))
        assert (api.status, body["code"]) == (503, "capability_missing")
        assert "openpose" in body["needed"]
        assert "sd15" in body["needed"]

    @pytest.mark.parametrize(
        ("fields", "field", "code"),
        [
            ({"controlnet_model": "telepathy", "init_image": "x"}, "controlnet_model", "unknown"),
            ({"init_image": "x"}, "controlnet_model", "required"),
            ({"controlnet_model": "canny"}, "init_image", "required"),
        ],
    )
    def test_what_is_missing_or_unknown_is_told(self, api, fields, field, code):
        body = call(api, "v5/controlnet", **fields)
        assert (field, code) in {(fault["field"], fault["code"]) for fault in body["errors"]}
