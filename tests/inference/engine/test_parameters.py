"""How a picture was made, as text in its file: what was really used, readable by others, beside unchanged pixels."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from PIL import ExifTags, Image

from inference.engine import scheduler_names
from inference.engine.parameters import EXIF_BYTES_MAX, SAMPLERS, parameters_text, settings_used
from inference.engine.spec import AdapterRef, ControlRef, Family, ModelRef, Operation, RenderSpec, UpscaleSpec
from inference.pictures import encode

SPEC = RenderSpec(
    token="0" * 32,
    account="17",
    operation=Operation.TEXT_TO_IMAGE,
    model=ModelRef(model_id="demo", family=Family.SD15, source="/weights/secret"),
    prompt="a red circle, on blue",
    width_px=512,
    height_px=384,
    num_inference_steps=20,
    guidance_scale=7.5,
    scheduler="EulerAncestralDiscreteScheduler",
    output_keys=("generations/x-0.png",),
)
PICTURE = Image.effect_noise((64, 48), 80).convert("RGB")


def text(used: dict[str, object] | None = None, **changes: object) -> str:
    return parameters_text(dataclasses.replace(SPEC, **changes), used or {}, seed=5)  # type: ignore[arg-type]


def test_it_has_the_layout_that_image_programs_read():
    assert text(negative_prompt="blurry") == (
        "a red circle, on blue\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 5, Size: 512x384, Model: demo"
    )


def test_it_says_what_was_used_not_what_was_asked():
    used = {
        "prompt": "a red circle, cinematic",
        "negative_prompt": "",
        "scheduler": "DPMSolverMultistepScheduler",
        "algorithm_type": "sde-dpmsolver++",
        "use_karras_sigmas": True,
        "num_inference_steps": 12,
        "guidance_scale": 0.0,
        "clip_skip": 0,
        "width_px": 256,
    }
    assert text(used, negative_prompt="blurry", clip_skip=1) == (
        "a red circle, cinematic\n"
        "Steps: 12, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 0, Seed: 5, Size: 256x384, Model: demo"
    )


def test_what_joins_a_model_is_named():
    found = settings_used(
        dataclasses.replace(
            SPEC,
            operation=Operation.IMAGE_TO_IMAGE,
            strength=0.6,
            clip_skip=1,
            loras=(AdapterRef(adapter_id="ink", source="s", strength=0.8), AdapterRef(adapter_id="oil", source="s")),
            controls=(ControlRef(kind="canny", source="s", scale=0.5),),
            vae=AdapterRef(adapter_id="sharp", source="s"),
            upscale=UpscaleSpec(factor=4),
        ),
        {},
        seed=1,
    )
    assert (
        found
        | {
            "Denoising strength": "0.6",
            "Clip skip": "2",
            "Lora": "ink: 0.8, oil: 1",
            "ControlNet 0": "canny: 0.5",
            "VAE": "sharp",
            "Postprocess upscale by": "4",
        }
        == found
    )


def test_a_value_with_separators_is_quoted_so_that_pairs_stay_pairs():
    loras = (AdapterRef(adapter_id="ink", source="s"), AdapterRef(adapter_id="oil", source="s"))
    line = text(loras=loras).split("\n")[-1]
    assert json.loads(line[line.index("Lora: ") + 6 :]) == "ink: 1, oil: 1"
    pairs = re.findall(r'\s*([\w/ -]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', line)
    assert [name for name, _ in pairs] == ["Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Lora"]


@pytest.mark.parametrize("class_name", SAMPLERS)
def test_each_sampler_s_name_leads_back_to_it(class_name):
    choice = scheduler_names.resolve(SAMPLERS[class_name])
    assert choice is not None
    assert choice.class_name == class_name
    assert not choice.note


def test_it_never_tells_an_account_a_path_or_an_address():
    told = text(init_images=("inputs/secret.png",), operation=Operation.IMAGE_TO_IMAGE)
    for secret in ("secret", "17", "0" * 32, "generations"):
        assert secret not in told


def test_nothing_is_told_of_what_was_not_drawn_nor_where_the_account_does_not_want_it():
    assert text(operation=Operation.UPSCALE) == ""
    assert text(parameters_in_pictures=False) == ""


@pytest.mark.parametrize("prompt", ["a red circle", "ein Bär, größer", "赤い円 🔴\nsecond line"])
def test_a_png_carries_it_in_any_script_beside_unchanged_pixels(prompt):
    data, content_type = encode(PICTURE, key="generations/x-0.png", parameters=text(prompt=prompt))
    opened = Image.open(io.BytesIO(data))
    assert (opened.text["parameters"], content_type) == (text(prompt=prompt), "image/png")  # type: ignore[attr-defined]
    assert opened.tobytes() == PICTURE.tobytes()
    assert encode(PICTURE, key="generations/x-0.png", parameters=text(prompt=prompt))[0] == data


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_other_formats_carry_it_as_the_comment_of_their_exif(ending):
    key = f"generations/x-0.{ending}"
    data, _ = encode(PICTURE, key=key, parameters=text(prompt="ein Bär 🔴"))
    opened = Image.open(io.BytesIO(data))
    comment = opened.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    assert comment.removeprefix(b"UNICODE\0").decode("utf-16-be") == text(prompt="ein Bär 🔴")
    plain = Image.open(io.BytesIO(encode(PICTURE, key=key, parameters="")[0]))
    assert not plain.getexif()
    assert opened.tobytes() == plain.tobytes()


def test_what_a_jpeg_has_no_room_for_is_left_out():
    data, _ = encode(PICTURE, key="generations/x-0.jpg", parameters="x" * EXIF_BYTES_MAX)
    assert not Image.open(io.BytesIO(data)).getexif()


def test_without_it_a_png_has_no_text():
    opened = Image.open(io.BytesIO(encode(PICTURE, key="generations/x-0.png", parameters="")[0]))
    assert opened.info == {}
