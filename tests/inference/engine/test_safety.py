"""The safety checker alone: who is flagged, and what is delivered instead."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import load_file, save_file

from inference.engine.errors import RenderFailed
from inference.engine.safety import ACTIONS, SafetyChecker, blank
from inference.engine.spec import Family, Operation
from tests.inference.engine.bench import Bench, model, spec
from tests.support.tiny_models import safety_checker
from tests.support.tiny_operations import disc, noise


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def saved(folder, *, flags: bool, as_pipeline: bool = False, processor: bool = True):
    network, preprocessor = safety_checker(flags=flags)
    network.save_pretrained(folder / "safety_checker" if as_pipeline else folder)
    if processor:
        preprocessor.save_pretrained(folder / "feature_extractor" if as_pipeline else folder)
    return folder


@pytest.mark.parametrize("as_pipeline", [False, True])
@pytest.mark.parametrize("flags", [False, True])
def test_flags_every_picture_by_itself(tmp_path, flags, as_pipeline):
    checker = SafetyChecker.load(saved(tmp_path, flags=flags, as_pipeline=as_pipeline), "cpu", torch.float32)
    assert checker.check([disc(), noise(40, 70), disc().convert("RGBA")]) == [flags] * 3


def test_no_pictures_no_flags(tmp_path):
    assert SafetyChecker.load(saved(tmp_path, flags=True)).check([]) == []


def test_works_without_preprocessor_settings(tmp_path):
    assert SafetyChecker.load(saved(tmp_path, flags=True, processor=False)).check([disc()]) == [True]


def test_works_in_half_precision(tmp_path):
    checker = SafetyChecker.load(saved(tmp_path, flags=True), dtype=torch.bfloat16)
    assert checker.check([disc()]) == [True]


def test_a_flagged_picture_is_not_touched(tmp_path):
    checker, image = SafetyChecker.load(saved(tmp_path, flags=True)), noise(64, 64)
    before = image.tobytes()
    checker.check([image])
    assert image.tobytes() == before


def test_a_missing_checker_is_named(tmp_path):
    with pytest.raises(RenderFailed, match="safety-checker") as failure:
        SafetyChecker.load(tmp_path / "safety-checker")
    assert failure.value.code == "model_missing"


def test_a_damaged_checker_is_an_error_and_not_a_checker_with_random_weights(tmp_path):
    folder = saved(tmp_path, flags=True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RenderFailed) as failure:
        SafetyChecker.load(folder)
    assert failure.value.code == "model_unreadable"


def test_a_checker_that_lacks_a_tensor_is_refused_rather_than_guessing(tmp_path):
    folder = saved(tmp_path, flags=True)
    state = load_file(folder / "model.safetensors")
    state.pop("concept_embeds")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RenderFailed, match="lacks 1") as failure:
        SafetyChecker.load(folder)
    assert failure.value.code == "model_unreadable"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("size", [(64, 64), (512, 320), (200, 900)])
def test_the_replacement_has_the_same_size_and_the_original_stays(action, size):
    image = noise(*size)
    before = image.tobytes()
    replaced = blank(image, action)
    assert (replaced.size, replaced.mode) == (size, "RGB")
    assert image.tobytes() == before
    assert ImageChops.difference(replaced, image).getbbox() is not None


def test_black_is_black():
    assert blank(disc(), "black").getextrema() == ((0, 0), (0, 0), (0, 0))


def test_pixelate_leaves_at_most_twelve_blocks_a_side():
    mosaic = np.asarray(blank(noise(480, 240), "pixelate"))
    assert (mosaic.reshape(6, 40, 12, 40, 3).std(axis=(1, 3)) == 0).all()
    assert len(np.unique(mosaic.reshape(-1, 3), axis=0)) > 12


def test_blur_leaves_no_detail():
    """Stripes of a thirtieth of the side vanish; the picture's overall light stays."""
    stripes = np.zeros((240, 240, 3), dtype=np.uint8)
    stripes[:, (np.arange(240) // 8) % 2 == 0] = 255
    soft = np.asarray(blank(Image.fromarray(stripes), "blur"), dtype=int)
    assert soft.max() - soft.min() < 40
    assert abs(soft.mean() - 127) < 8


def test_the_card_says_something_and_shows_nothing_of_the_picture():
    one, other = (
        blank(noise(512, 512, seed=1), "sensitive_content_text"),
        blank(disc(512, 512), "sensitive_content_text"),
    )
    assert one.tobytes() == other.tobytes()
    bright = (np.asarray(one.convert("L")) > 200).sum()
    assert 300 < bright < 512 * 512 * 0.1


def test_an_unknown_action_is_refused_with_the_known_ones():
    with pytest.raises(RenderFailed, match="blur, pixelate, black, sensitive_content_text") as failure:
        blank(disc(), "sepia")
    assert failure.value.code == "invalid_safety_action"


@pytest.mark.parametrize("flags", [True, False])
def test_a_picture_is_judged_apart_from_drawing_and_comes_back_as_it_was(tmp_path, flags):
    saved(tmp_path / "checker", flags=flags)
    bench = Bench(tmp_path)
    job = spec(model("checker", Family.SAFETY), operation=Operation.CHECK_SAFETY, init_images=("in",))
    (output,) = bench.finish(bench.submit(job, {"in": disc()}))
    bench.close()
    assert output.images[0].flagged is flags
    assert output.images[0].image.tobytes() == disc().tobytes()
