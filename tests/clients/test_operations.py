"""Every operation through HTTP to the real engine and back, on tiny models: what arrives is looked at by its pixels."""

from __future__ import annotations

import base64
import functools
import io
import json
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gateway.api.adapters import CONTROL_KINDS
from tests.support.service import Service
from tests.support.tiny_operations import disc, house, noise
from tests.support.tiny_shop import DRAWS

# The first test of the run waits for a service that loads torch and builds models; busy machines take minutes.
pytestmark = pytest.mark.timeout(900)
PATIENCE_S = 240.0
EDITING = "v6/image_editing"


class Caller:
    def __init__(self, service: Service, key: str) -> None:
        self.service, self.key = service, key

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        url = path if "://" in path else f"{self.service.url}/api/{path}"
        request = urllib.request.Request(url, json.dumps({"key": self.key} | fields).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            return json.load(refusal)

    def made(self, path: str, **fields: Any) -> dict[str, Any]:
        """The reply once it is finished."""
        return self.finished(self.post(path, **fields))

    def finished(self, body: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while body["status"] == "processing":
            assert time.monotonic() < deadline, f"No result in {PATIENCE_S} s.\n{self.service.logs()}"
            time.sleep(0.2)
            body = self.post(body.get("fetch_result") or f"v6/images/fetch/{body['id']}")
        return body

    def drawn(self, **fields: Any) -> bytes:
        """The pixels of a picture by text, always of the same seed."""
        return pixels(self.made("v6/images/text2img", **(PLAIN | fields))).tobytes()


PLAIN = {"prompt": "a photo of red cat", "model_id": "tiny", "seed": 5, "num_inference_steps": 2}


@pytest.fixture(scope="session")
def api(studio: Service, studio_key: str) -> Caller:
    return Caller(studio, studio_key)


@pytest.fixture(scope="session")
def plain(api: Caller) -> bytes:
    return api.drawn()


def text(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(url: str) -> Image.Image:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return Image.open(io.BytesIO(answer.read()))


def picture(body: dict[str, Any]) -> Image.Image:
    assert body["status"] == "success", body
    return opened(body["output"] if isinstance(body["output"], str) else body["output"][0])


def pixels(body: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(picture(body).convert("RGB"))


@functools.cache
def half_mask(side_px: int = 64) -> str:
    mask = Image.new("L", (side_px, side_px), 0)
    mask.paste(255, (0, 0, side_px // 2, side_px))
    return text(mask)


class TestWatching:
    def test_a_picture_is_seen_becoming_and_its_preview_goes_when_it_is_done(self, api: Caller) -> None:
        fields = PLAIN | {"width": 512, "height": 512, "num_inference_steps": 50}
        body = api.post("v7/images/text-to-image", instant_response="yes", previews="yes", **fields)
        seen: dict[str, Image.Image] = {}
        while body["status"] == "processing":
            body = api.post(body["fetch_result"])
            if body.get("preview") and body["preview"] not in seen:
                assert 0 <= body["step"] < body["steps"] == 50
                seen[body["preview"]] = opened(body["preview"])
            time.sleep(0.05)
        assert {(shown.format, shown.size) for shown in seen.values()} == {("JPEG", (256, 256))}
        assert len({shown.tobytes() for shown in seen.values()}) > 1
        assert picture(body).size == (512, 512)
        with pytest.raises(urllib.error.HTTPError) as gone:
            opened(list(seen)[-1])
        assert gone.value.code == 404
        gone.value.close()

    def test_nobody_else_pays_for_it(self, api: Caller) -> None:
        """Without the wish, not a word of it; and the picture is the same one."""
        fields = PLAIN | {"num_inference_steps": 6}
        watched = api.made("v6/images/text2img", previews="yes", **fields)
        body = api.post("v6/images/text2img", instant_response="yes", **fields)
        assert "preview" not in body
        assert pixels(watched).tobytes() == pixels(api.finished(body)).tobytes()


class TestDrawing:
    @pytest.mark.parametrize("model_id", DRAWS.values())
    def test_every_family_draws_redraws_and_repaints(self, api: Caller, model_id: str) -> None:
        fields = PLAIN | {"model_id": model_id, "strength": 0.6, "init_image": text(noise(64, 64))}
        bodies = [
            api.post(f"v7/images/{path}", instant_response="yes", mask_image=half_mask(), **fields)
            for path in ("text-to-image", "image-to-image", "inpaint")
        ]
        made = [pixels(api.finished(body)) for body in bodies]
        assert {one.shape for one in made} == {(64, 64, 3)}
        assert len({one.tobytes() for one in made}) == 3

    def test_a_list_of_pictures_draws_from_the_first_and_says_so(self, api: Caller) -> None:
        one, other = text(noise(64, 64)), text(noise(64, 64, seed=1))
        listed = api.made("v7/images/image-to-image", init_image=[one, other], strength=0.5, **PLAIN)
        alone = api.made("v6/images/img2img", init_image=f"data:image/png;base64,{one}", strength=0.5, **PLAIN)
        assert pixels(listed).tobytes() == pixels(alone).tobytes()
        assert any("first picture" in note for note in listed["notes"])

    @pytest.mark.parametrize("model_id", ["tiny", "tiny-inpainting"])
    @pytest.mark.parametrize("path", ["v3/inpaint", "v6/images/inpaint", f"{EDITING}/inpaint"])
    def test_repainting_leaves_what_is_outside_the_mask_bit_by_bit(self, api: Caller, model_id: str, path: str) -> None:
        given = noise(64, 64)
        fields = PLAIN | {"model_id": model_id, "safety_checker": "no"}
        made = pixels(api.made(path, init_image=text(given), mask_image=half_mask(), **fields))
        assert (made[:, 32:] == np.asarray(given)[:, 32:]).all()
        assert (made[:, :32] != np.asarray(given)[:, :32]).any()

    def test_removing_an_object_repaints_its_mask_alone(self, api: Caller) -> None:
        given = noise(64, 64)
        made = pixels(api.made(f"{EDITING}/object_removal", init_image=text(given), mask_image=half_mask()))
        assert (made[:, 32:] == np.asarray(given)[:, 32:]).all()
        assert (made[:, :32] != np.asarray(given)[:, :32]).any()

    def test_extending_keeps_the_picture_in_the_middle(self, api: Caller) -> None:
        given = noise(64, 64)
        fields = {"width": 128, "height": 64, "overlap_width": 8, "num_inference_steps": 2}
        made = pixels(api.made(f"{EDITING}/outpaint", image=text(given), **fields))
        assert made.shape == (64, 128, 3)
        assert (made[:, 40:88] == np.asarray(given)[:, 8:56]).all()


class TestControl:
    def test_every_kind_draws_something_else(self, api: Caller, plain: bytes) -> None:
        fields = PLAIN | {"init_image": text(house(64)), "instant_response": "yes"}
        hint = {"face_detector": {"control_image": text(house(64))}}
        bodies = {
            kind: api.post("v5/controlnet", controlnet_model=kind, **fields, **hint.get(kind, {}))
            for kind in CONTROL_KINDS
        }
        for kind, body in bodies.items():
            finished = api.finished(body)
            assert pixels(finished).tobytes() != plain, kind
            assert finished["meta"]["controlnet_model"] == kind

    def test_several_at_once_a_given_hint_and_a_guess(self, api: Caller) -> None:
        fields = {"model_id": "tiny", "seed": 5, "num_inference_steps": 2, "init_image": text(house(64))}
        canny, path = {"controlnet_model": "canny"}, "v6/images/controlnet"
        both = {"controlnet_model": "canny,tile", "controlnet_conditioning_scale": "0.5,1.5"}
        hint = {"control_image": text(noise(64, 64)), "strength": 1}
        bodies = [
            api.made(path, prompt="x", **fields, **canny),
            api.made(path, prompt="x", **fields, **both),
            api.made("v7/images/controlnet", prompt="x", **fields, **canny, **hint),
            api.made("v5/controlnet", guess_mode="yes", **fields, **canny),
        ]
        assert len({pixels(body).tobytes() for body in bodies}) == 4
        assert bodies[1]["meta"]["controlnet_conditioning_scale"] == "0.5,1.5"
        assert (bodies[2]["meta"]["auto_hint"], bodies[3]["meta"]["guess_mode"]) == ("no", "yes")


class TestEditing:
    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_enlarging(self, api: Caller, scale: int) -> None:
        body = api.made(f"{EDITING}/super_resolution", init_image=text(disc(48, 32)), scale=scale)
        assert picture(body).size == (48 * scale, 32 * scale)

    def test_the_older_enlarging_answers_with_one_text(self, api: Caller) -> None:
        body = api.made("v3/super_resolution", url=text(disc(48, 32)), scale=2)
        assert isinstance(body["output"], str)
        assert picture(body).size == (96, 64)

    def test_cutting_out(self, api: Caller) -> None:
        cut = picture(api.made(f"{EDITING}/removebg_mask", image=text(disc())))
        mask = picture(api.made("v5/removebg_mask", image=text(disc()), only_mask=True))
        assert (cut.mode, cut.size, mask.mode) == ("RGBA", disc().size, "L")
        assert cut.getchannel("A").tobytes() == mask.tobytes()

    def test_a_mask_of_a_named_thing(self, api: Caller) -> None:
        mask = picture(api.made(f"{EDITING}/mask_creator", image=text(disc()), specific_object="disc"))
        assert (mask.mode, mask.size) == ("L", disc().size)

    def test_pictures_become_addresses(self, api: Caller) -> None:
        kept = api.post(f"{EDITING}/base64_to_url", init_image=text(disc()))
        assert opened(kept["output"][0]).convert("RGB").tobytes() == disc().tobytes()
        cropped = api.post("v3/base64_crop", base64_string=text(disc()), crop="true")
        assert opened(cropped["link"]).size == (512, 512)

    @pytest.mark.parametrize("name", ["face_gen", "head_shot", "flux_headshot", "fashion", "qwen_edit", "caption"])
    def test_what_nobody_can_draw_here_says_what_is_lacking(self, api: Caller, name: str) -> None:
        body = api.post(f"{EDITING}/{name}", prompt="x", init_image=text(disc()))
        assert body["code"] == "capability_missing"
        assert "engine" in body["needed"]


class TestAdapters:
    ADAPTERS = (
        {"lora_model": "style", "lora_strength": 1},
        {"embeddings_model": "<cat>", "prompt": "a photo of <cat>"},
        {"vae": "other"},
        {"ip_adapter_id": "ip-adapter_sd15", "ip_adapter_scale": 1, "ip_adapter_image": text(noise(32, 32))},
    )

    @pytest.mark.parametrize("fields", ADAPTERS, ids=lambda fields: next(iter(fields)))
    def test_it_changes_its_own_picture_and_no_other(self, api: Caller, plain: bytes, fields: dict[str, Any]) -> None:
        assert api.drawn(**fields) != plain
        assert api.drawn() == plain


class TestOptions:
    def test_the_reply_tells_what_was_used(self, api: Caller) -> None:
        told = {"scheduler": "Euler a Karras", "enhance_prompt": "yes", "clip_skip": 2, "panorama": "yes"}
        body = api.made("v6/images/text2img", **(PLAIN | told))
        meta = body["meta"]
        assert (meta["scheduler"], meta["use_karras_sigmas"]) == ("EulerAncestralDiscreteScheduler", "no")
        assert (meta["clip_skip"], meta["panorama"]) == (2, "no")
        assert meta["prompt"].startswith("a photo of red cat, ")
        assert {note.split()[0] for note in body["notes"]} >= {"panorama", "use_karras_sigmas"}

    @pytest.mark.parametrize(
        "fields",
        [
            {"self_attention": "yes"},
            {"tomesd": "yes", "width": 128, "height": 128},
            {"highres_fix": "yes", "width": 128, "height": 128},
            {"panorama": "yes", "width": 192},
            {"upscale": "2"},
        ],
        ids=lambda fields: next(iter(fields)),
    )
    def test_an_option_that_is_used_is_told(self, api: Caller, fields: dict[str, Any]) -> None:
        body = api.made("v6/images/text2img", **(PLAIN | fields))
        name = next(iter(fields))
        assert body["status"] == "success"
        assert body["meta"][name] == (2 if name == "upscale" else "yes"), body.get("notes")


class TestSafety:
    @pytest.mark.parametrize("action", ["blur", "pixelate", "black", "sensitive_content_text"])
    def test_a_flagged_picture_is_replaced_and_told(self, api: Caller, plain: bytes, action: str) -> None:
        """This installation's checker flags everything."""
        told = {"safety_checker": "yes", "safety_checker_type": action}
        body = api.made("v6/images/text2img", **(PLAIN | told))
        assert body["nsfw_content_detected"] is True
        assert pixels(body).tobytes() != plain
        assert (pixels(body).max() == 0) is np.bool_(action == "black")

    def test_unchecked_pictures_are_delivered_as_drawn(self, api: Caller) -> None:
        body = api.made("v6/images/text2img", **PLAIN)
        assert (body["nsfw_content_detected"], body["meta"]["safety_checker"]) == (False, "no")

    def test_a_sent_picture_is_judged(self, api: Caller) -> None:
        body = api.made("v3/nsfw_image_check", init_image=text(disc()))
        assert (body["has_nsfw_concept"], body["images"]) == ([True], body["output"])
