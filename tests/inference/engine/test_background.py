"""Removing backgrounds and creating masks: every option has an effect, and every refusal says what to add."""

import numpy as np
import pytest
import torch
from PIL import Image

from inference.engine import background
from inference.engine.background import matting
from inference.engine.errors import RenderFailed
from inference.engine.spec import BackgroundSpec
from tests.support.tiny_operations import (
    clipseg_folder,
    disc,
    noise,
    saliency_state,
    save_state,
    segmentation_folder,
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


class KnownSubject:
    """Stands in for a trained network: it finds the red disc of `disc`, as softly as networks do."""

    network = torch.nn.Identity()

    def __init__(self, softness_px: float = 4.0, specks: bool = False) -> None:
        self.softness_px, self.specks = softness_px, specks

    def alpha(self, image):
        height, width = image.height, image.width
        y, x = np.mgrid[:height, :width]
        distance = np.hypot(x + 0.5 - width / 2, y + 0.5 - height / 2) - min(height, width) / 4
        alpha = np.clip(0.5 - distance / (2 * self.softness_px), 0, 1).astype(np.float32)
        if self.specks:
            alpha[2:4, 2:4] = 1
            alpha[height // 2, width // 2] = 0
        return alpha


def cutter(**options) -> background.BackgroundModel:
    return background.BackgroundModel(KnownSubject(**options))


def alpha_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image.getchannel("A") if image.mode == "RGBA" else image, dtype=int)


def test_the_background_becomes_transparent_and_the_subject_stays():
    image = disc(96, 64)
    cut = cutter().cut(image, BackgroundSpec())
    assert (cut.mode, cut.size) == ("RGBA", image.size)
    assert alpha_of(cut)[32, 48] == 255
    assert alpha_of(cut)[0, 0] == 0
    assert cut.getpixel((48, 32))[:3] == image.getpixel((48, 32))


def test_only_mask_gives_the_mask_alone():
    mask = cutter().cut(disc(96, 64), BackgroundSpec(only_mask=True))
    assert mask.mode == "L"
    assert (alpha_of(mask) == alpha_of(cutter().cut(disc(96, 64), BackgroundSpec()))).all()


def test_inverse_mask_keeps_the_background_instead():
    plain = alpha_of(cutter().cut(disc(96, 64), BackgroundSpec()))
    inverse = alpha_of(cutter().cut(disc(96, 64), BackgroundSpec(inverse_mask=True)))
    assert np.abs(plain + inverse - 255).max() <= 1


def test_post_processing_removes_specks_and_pinholes():
    rough = alpha_of(cutter(specks=True).cut(disc(96, 64), BackgroundSpec()))
    clean = alpha_of(cutter(specks=True).cut(disc(96, 64), BackgroundSpec(post_process_mask=True)))
    assert (rough[2, 2], clean[2, 2]) == (255, 0)
    assert (rough[32, 48], clean[32, 48]) == (0, 255)


def test_post_processing_makes_a_soft_edge_firm():
    def soft_pixels(spec: BackgroundSpec) -> int:
        alpha = alpha_of(cutter(softness_px=8).cut(disc(96, 64), spec))
        return int(((alpha > 10) & (alpha < 245)).sum())

    assert soft_pixels(BackgroundSpec(post_process_mask=True)) < soft_pixels(BackgroundSpec()) / 2


def test_alpha_matting_finds_the_edge_that_the_colours_show():
    image = disc(192, 128)
    truth = (np.asarray(image)[..., 0] > 120) * 255
    model = cutter(softness_px=8)
    rough = np.abs(alpha_of(model.cut(image, BackgroundSpec())) - truth).mean()
    fine = np.abs(alpha_of(model.cut(image, BackgroundSpec(alpha_matting=True))) - truth).mean()
    assert fine < rough / 20


@pytest.mark.parametrize("option", [{"foreground_threshold": 140}, {"background_threshold": 0}, {"erode_px": 0}])
def test_each_matting_option_changes_the_result(option):
    image = noise(96, 64)  # no colour edge: the border is decided by the options alone
    model = cutter(softness_px=12)
    usual = model.cut(image, BackgroundSpec(alpha_matting=True))
    assert np.abs(alpha_of(model.cut(image, BackgroundSpec(alpha_matting=True, **option))) - alpha_of(usual)).max() > 5


def test_alpha_matting_frees_border_colours_of_the_background():
    """A blurred red disc on blue has purple edges; what is cut out should be red throughout."""
    large = disc(192, 128, "#ff0000", "#0000ff")
    alpha = KnownSubject(softness_px=6).alpha(large)
    mixed = np.array([[255, 0, 0]]) * alpha[..., None] + np.array([[0, 0, 255]]) * (1 - alpha[..., None])
    freed = matting.foreground_colours(mixed.round().astype(np.uint8), alpha)
    border = (alpha > 0.3) & (alpha < 0.7)
    assert mixed[border][:, 2].mean() > 100
    assert freed[border][:, 2].mean() < 60


def test_what_was_transparent_stays_transparent():
    image = disc(96, 64).convert("RGBA")
    image.putalpha(Image.new("L", (96, 64), 0))
    assert alpha_of(cutter().cut(image, BackgroundSpec())).max() == 0


@pytest.mark.parametrize(
    "spec",
    [
        BackgroundSpec(foreground_threshold=256),
        BackgroundSpec(background_threshold=-1),
        BackgroundSpec(foreground_threshold=10, background_threshold=20),
        BackgroundSpec(erode_px=65),
    ],
)
def test_options_out_of_range_are_refused(spec):
    with pytest.raises(RenderFailed) as failure:
        cutter().cut(disc(), spec)
    assert failure.value.code == "invalid_threshold"


def test_a_mask_is_firm_and_ready_for_inpainting():
    mask = cutter().mask(disc(96, 64), "")
    assert mask.mode == "L"
    assert set(np.unique(np.asarray(mask)).tolist()) == {0, 255}
    assert mask.getpixel((48, 32)) == 255


def test_a_model_of_the_main_subject_does_not_pretend_to_know_names():
    with pytest.raises(RenderFailed, match="CLIPSeg") as failure:
        cutter().mask(disc(), "the left shoe")
    assert failure.value.code == "subject_not_supported"


@pytest.mark.parametrize("isnet", [False, True])
@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_reads_both_saliency_networks_from_both_kinds_of_file(tmp_path, isnet, name):
    model = background.load(save_state(saliency_state(isnet=isnet), tmp_path / name))
    cut = model.cut(disc(), BackgroundSpec())
    assert (cut.mode, cut.size) == ("RGBA", disc().size)
    assert sum(parameter.numel() for parameter in model.network.parameters()) > 1000


def test_the_answer_depends_on_the_picture(tmp_path):
    model = background.load(save_state(saliency_state(), tmp_path / "u2netp.pth"))
    spec = BackgroundSpec(only_mask=True)
    assert np.abs(alpha_of(model.cut(disc(), spec)) - alpha_of(model.cut(noise(96, 64), spec))).max() > 20


def test_a_folder_with_one_weight_file_will_do(tmp_path):
    save_state(saliency_state(), tmp_path / "u2netp.pth")
    assert background.load(tmp_path).cut(disc(), BackgroundSpec()).mode == "RGBA"


def test_clipseg_masks_what_words_describe(tmp_path):
    model = background.load(clipseg_folder(tmp_path / "clipseg"))
    mask = model.mask(disc(), "a red cat")
    assert mask.size == disc().size
    assert model.cut(disc(), BackgroundSpec()).mode == "RGBA"


def test_clipseg_refuses_rather_than_masks_nothing(tmp_path):
    with pytest.raises(RenderFailed, match="'a dog'") as failure:
        background.load(clipseg_folder(tmp_path / "clipseg", finds=False)).mask(disc(), "a dog")
    assert failure.value.code == "subject_not_found"


LABELS = ("background", "person, individual", "car")


def test_a_segmentation_folder_masks_its_labels_by_word(tmp_path):
    model = background.load(segmentation_folder(tmp_path / "seg", LABELS, favourite=2))
    assert model.mask(disc(), "the red car").getextrema() == (255, 255)
    with pytest.raises(RenderFailed) as failure:
        model.mask(disc(), "Person")
    assert failure.value.code == "subject_not_found"
    with pytest.raises(RenderFailed, match="background, person") as failure:
        model.mask(disc(), "giraffe")
    assert failure.value.code == "subject_not_supported"


@pytest.mark.parametrize(("favourite", "kept"), [(0, 0), (1, 255)])
def test_a_segmentation_folder_cuts_what_is_not_background(tmp_path, favourite, kept):
    model = background.load(segmentation_folder(tmp_path / "seg", LABELS, favourite=favourite))
    assert alpha_of(model.cut(disc(), BackgroundSpec())).max() == kept


def test_a_segmentation_folder_without_a_background_label_cannot_cut(tmp_path):
    model = background.load(segmentation_folder(tmp_path / "seg", ("wall", "sky"), favourite=1))
    with pytest.raises(RenderFailed) as failure:
        model.cut(disc(), BackgroundSpec())
    assert failure.value.code == "subject_not_supported"


@pytest.mark.parametrize("path", [None, "", "not-there"])
def test_without_a_model_the_error_names_what_to_add(tmp_path, path):
    with pytest.raises(RenderFailed, match=r"u2net\.pth.*CLIPSeg") as failure:
        background.load(tmp_path / path if path else path)
    assert failure.value.code == "model_missing"
    assert not failure.value.retryable


def test_a_foreign_weight_file_and_an_ambiguous_folder_are_refused(tmp_path):
    foreign = save_state({"weight": torch.zeros(2)}, tmp_path / "a.pth")
    with pytest.raises(RenderFailed, match=r"a\.pth") as failure:
        background.load(foreign)
    assert failure.value.code == "model_unreadable"
    save_state(saliency_state(), tmp_path / "b.pth")
    with pytest.raises(RenderFailed, match="2 weight files"):
        background.load(tmp_path)


def test_a_torn_saliency_file_is_refused(tmp_path):
    state = saliency_state()
    state.pop("stage3.rebnconv2.conv_s1.weight")
    with pytest.raises(RenderFailed) as failure:
        background.load(save_state(state, tmp_path / "torn.pth"))
    assert failure.value.code == "model_unreadable"
