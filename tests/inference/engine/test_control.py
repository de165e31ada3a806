"""Hints: each kind shows what its ControlNet was trained on, at the asked size, and missing weights are named."""

import numpy as np
import pytest
import torch
from PIL import Image

from inference.engine import control
from inference.engine.control import edges, filters, lines, pose, segments
from inference.engine.errors import RenderFailed
from tests.support.tiny_operations import (
    depth_folder,
    detector_folder,
    disc,
    hed_state,
    house,
    lineart_state,
    mlsd_state,
    noise,
    pose_folder,
    save_state,
    segmentation_folder,
)

OF_THE_API = [
    *("canny", "depth", "hed", "softedge", "lineart", "mlsd", "normal", "openpose", "scribble", "segmentation"),
    *("tile", "shuffle", "inpaint", "blur", "gray", "low_quality", "qrcode", "face_detector", "pose"),
    "aesthetic-controlnet",
]
NAMED = {
    "depth": "preprocessors/depth",
    "normal": "preprocessors/depth",
    "hed": r"preprocessors/ControlNetHED\.pth",
    "softedge": r"preprocessors/ControlNetHED\.pth",
    "segmentation": "preprocessors/segmentation",
    "openpose": "preprocessors/openpose",
    "pose": "preprocessors/openpose",
}
FREE = [kind for kind in OF_THE_API if kind not in NAMED and kind != "face_detector"]


@pytest.fixture(autouse=True)
def _fresh():
    torch.set_num_threads(1)
    yield
    control.release()


@pytest.fixture
def models(tmp_path):
    (tmp_path / "preprocessors").mkdir()
    return tmp_path


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


def test_knows_every_kind_of_the_api():
    assert sorted(control.KINDS) == sorted(OF_THE_API)
    assert [kind for kind in OF_THE_API if not control.needs_weights(kind)] == FREE


@pytest.mark.parametrize("kind", FREE)
def test_kinds_without_weights_work_out_of_the_box(tmp_path, kind):
    image = house(120)
    before = image.tobytes()
    hint = control.hint(kind, image, 96, 64, tmp_path)
    assert (hint.mode, hint.size) == ("RGB", (96, 64))
    assert array(hint).std() > 1
    assert image.tobytes() == before


@pytest.mark.parametrize("kind", FREE)
def test_the_same_picture_gives_the_same_hint(tmp_path, kind):
    one, two = (control.hint(kind, house(120), 96, 96, tmp_path) for _ in range(2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("kind", FREE)
@pytest.mark.parametrize("size", [(8, 8), (1, 40), (40, 1)])
def test_tiny_and_narrow_pictures_do_no_harm(tmp_path, kind, size):
    assert control.hint(kind, noise(*size), 16, 16, tmp_path).size == (16, 16)
    assert control.hint(kind, noise(64, 64), *size, tmp_path).size == size


@pytest.mark.parametrize("kind", NAMED)
def test_missing_weights_are_named_with_their_place(tmp_path, kind):
    with pytest.raises(RenderFailed, match=NAMED[kind]) as failure:
        control.hint(kind, house(), 64, 64, tmp_path)
    assert failure.value.code == "preprocessor_missing"
    assert "control_image" in failure.value.message


def test_a_face_hint_must_be_supplied(tmp_path):
    with pytest.raises(RenderFailed, match="control_image") as failure:
        control.hint("face_detector", house(), 64, 64, tmp_path)
    assert failure.value.code == "hint_not_derivable"


def test_unknown_kinds_are_refused(tmp_path):
    for call in (lambda: control.needs_weights("sketchy"), lambda: control.hint("sketchy", house(), 8, 8, tmp_path)):
        with pytest.raises(RenderFailed, match="'sketchy'") as failure:
            call()
        assert failure.value.code == "unknown_control"


def test_a_hint_is_cut_like_the_picture(tmp_path):
    hint = control.hint("tile", disc(200, 100), 64, 64, tmp_path)
    red = np.argwhere(array(hint)[..., 0] > 120)
    assert np.abs(red.mean(axis=0) - 31.5).max() < 0.6


# --- Filters ----------------------------------------------------------------------------------------------------------


def test_canny_draws_the_outline_and_nothing_else():
    edge = array(filters.canny(disc(96, 64)))[..., 0]
    assert set(np.unique(edge).tolist()) == {0, 255}
    y, x = np.nonzero(edge)
    assert np.abs(np.hypot(x + 0.5 - 48, y + 0.5 - 32) - 16).max() < 2.5


def test_scribble_strokes_follow_the_drawing_in_white_on_black():
    image = house(128)
    strokes = array(filters.scribble(image))[..., 0]
    assert set(np.unique(strokes).tolist()) == {0, 255}
    y, x = np.nonzero(array(image.convert("L")) < 80)
    near = np.zeros_like(strokes)
    for shift_y, shift_x in ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)):
        near[(y + shift_y).clip(0, 127), (x + shift_x).clip(0, 127)] = 1
    assert strokes[near == 1].mean() > 60
    assert strokes[near == 0].mean() < 40


def test_lineart_follows_the_lines():
    image = house(128)
    dark = array(image.convert("L")) < 80
    grey = array(filters.lineart(image))[..., 0]
    assert grey[dark].mean() > 100
    assert grey[~dark].mean() < 20


def test_lineart_of_an_even_picture_is_black():
    assert filters.lineart(Image.new("RGB", (64, 64), "#777777")).getextrema()[0] == (0, 0)


def test_straight_lines_are_found_and_curves_are_not():
    walls = array(filters.straight_lines(house(256)))[..., 0] > 0
    assert walls[112:224, 46:52].any(axis=1).mean() > 0.8  # the left wall, nearly whole
    speckled = array(filters.straight_lines(noise(128, 128)))[..., 0] > 0
    assert speckled.mean() < 0.02


def test_blur_and_low_quality_take_detail_away():
    image = noise(128, 128)
    for worse in (filters.blur(image), filters.low_quality(image)):
        assert array(worse).std() < array(image).std() / 2


def test_gray_has_no_colour():
    hint = array(filters.gray(disc()))
    assert (hint.max(axis=2) == hint.min(axis=2)).all()


def test_shuffle_moves_things_and_keeps_the_colours():
    image = disc(128, 128)
    moved = filters.shuffle(image)
    assert np.abs(array(moved) - array(image)).mean() > 5
    assert {(208, 48, 32), (32, 80, 192)} <= {color for _, color in moved.getcolors(128 * 128)}


def test_masked_pixels_of_an_inpaint_hint_are_minus_one():
    mask = Image.new("L", (8, 8), 0)
    mask.paste(255, (0, 0, 4, 8))
    white = Image.new("RGB", (8, 8), "white")
    told = control.values("inpaint", white, mask)
    assert told.shape == (8, 8, 3)
    assert (told[:, :4] == -1).all()
    assert (told[:, 4:] == 1).all()
    assert (control.values("tile", white, mask) == 1).all()
    with pytest.raises(RenderFailed):
        control.values("inpaint", white, mask.resize((4, 4)))


# --- Networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hed", "softedge"])
@pytest.mark.parametrize("name", ["ControlNetHED.pth", "ControlNetHED.safetensors"])
def test_soft_edges_come_from_the_hed_file(models, kind, name):
    save_state(hed_state(), models / "preprocessors" / name)
    hint = control.hint(kind, noise(90, 70), 90, 70, models)
    assert (hint.mode, hint.size) == ("RGB", (90, 70))


def test_hed_answers_by_the_mean_of_its_stages():
    """With projections that answer a constant, the edge strength is the logistic of their mean."""
    state = hed_state()
    for number in range(1, 6):
        state[f"block{number}.projection.weight"].zero_()
        state[f"block{number}.projection.bias"].fill_(float(number) - 4)
    network = edges.Hed([(3, 4, 2), (4, 4, 2), (4, 8, 3), (8, 8, 3), (8, 8, 3)])
    network.load_state_dict(state)
    assert network(torch.zeros(1, 3, 32, 32)).unique().tolist() == pytest.approx([1 / (1 + np.e)], abs=1e-6)


def test_lineart_prefers_the_network_when_it_is_installed(models):
    before = control.hint("lineart", house(), 72, 56, models)
    save_state(lineart_state(), models / "preprocessors" / "sk_model.pth")
    after = control.hint("lineart", house(), 72, 56, models)
    assert after.size == (72, 56)
    assert after.tobytes() != before.tobytes()


def test_straight_lines_prefer_the_network_when_it_is_installed(models):
    state = mlsd_state()
    assert sum(tensor.numel() for name, tensor in state.items() if not _is_statistic(name)) == 1_533_680
    state["block23.conv3.bias"][7] = 3.0  # every centre is sure of itself
    state["block23.conv3.bias"][8:12] = torch.tensor((-20.0, 0.0, 20.0, 0.0))
    save_state(state, models / "preprocessors" / "mlsd_large_512_fp32.pth")
    hint = array(control.hint("mlsd", house(), 256, 256, models))[..., 0] > 0
    assert hint.any()
    lengths = [len(run) for row in hint for run in "".join("#" if on else " " for on in row).split()]
    assert max(lengths) >= 40  # 40 of 256 px of the map, on 256 px of picture


def _is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_mlsd_takes_no_line_that_it_is_not_sure_of(models):
    state = mlsd_state()
    state["block23.conv3.bias"][7] = -9.0
    state["block23.conv3.bias"][8:12] = torch.tensor((-20.0, 0.0, 20.0, 0.0))  # long enough, all of them
    network = lines.Mlsd().eval()
    network.load_state_dict(state)
    assert len(lines._segments(network, house(), "cpu")) == 0


def test_depth_is_grey_and_uses_the_whole_range(models):
    depth_folder(models / "preprocessors" / "depth")
    hint = array(control.hint("depth", disc(), 80, 48, models))
    assert hint.shape == (48, 80, 3)
    assert (hint.min(), hint.max()) == (0, 255)
    assert (hint[..., 0] == hint[..., 2]).all()


def test_depth_in_metres_is_turned_so_that_near_is_white(tmp_path):
    hints = []
    for metric in (False, True):
        folder = tmp_path / str(metric)
        depth_folder(folder / "preprocessors" / "depth", metric=metric)
        hints.append(array(control.hint("depth", disc(), 64, 64, folder)))
    assert np.abs(hints[0] + hints[1] - 255).max() <= 1


def test_normals_of_a_slope_lean_and_a_plane_faces_the_viewer(models, monkeypatch):
    depth_folder(models / "preprocessors" / "depth")
    slope = np.tile(np.linspace(0.2, 1, 64, dtype=np.float32), (64, 1))
    monkeypatch.setattr("inference.engine.control.depth.DepthModel.nearness", lambda *_: slope)
    leaning = array(control.hint("normal", disc(64, 64), 64, 64, models))[32, 32]
    assert leaning[0] > 140  # nearer to the right
    assert abs(leaning[1] - 127) <= 1
    monkeypatch.setattr("inference.engine.control.depth.DepthModel.nearness", lambda *_: np.full_like(slope, 0.5))
    assert control.hint("normal", disc(64, 64), 64, 64, models).getpixel((32, 32)) == (127, 127, 255)


def test_segmentation_paints_labels_in_the_colours_of_ade20k(models):
    segmentation_folder(models / "preprocessors" / "segmentation", ("wall", "building", "sky"), favourite=2)
    hint = control.hint("segmentation", disc(), 40, 24, models)
    assert hint.getcolors() == [(40 * 24, (6, 230, 230))]


def test_the_palette_has_a_colour_for_each_of_the_150_labels():
    assert segments.PALETTE.shape == (150, 3)
    assert segments.PALETTE[[0, 12, 149]].tolist() == [[120, 120, 120], [150, 5, 61], [92, 0, 255]]


def test_a_person_is_drawn_as_a_stick_figure(models):
    pose_folder(models / "preprocessors" / "openpose")
    hint = control.hint("openpose", house(), 128, 96, models)
    assert hint.size == (128, 96)
    assert len(hint.getcolors(128 * 96)) > 5
    assert hint.getpixel((0, 0)) == (0, 0, 0)


def test_a_picture_without_a_person_is_refused(models):
    pose_folder(models / "preprocessors" / "openpose", score=-5.0)
    with pytest.raises(RenderFailed) as failure:
        control.hint("openpose", house(), 64, 64, models)
    assert failure.value.code == "no_person"


@pytest.mark.parametrize("finds", [True, False])
def test_the_detector_decides_where_people_are(models, finds):
    pose_folder(models / "preprocessors" / "openpose")
    detector_folder(models / "preprocessors" / "person_detector", finds=finds)
    if finds:
        assert control.hint("pose", house(), 96, 96, models).getextrema()[0][1] > 0
    else:
        with pytest.raises(RenderFailed) as failure:
            control.hint("pose", house(), 96, 96, models)
        assert failure.value.code == "no_person"


def test_a_detector_that_knows_no_people_is_refused(models):
    pose_folder(models / "preprocessors" / "openpose")
    detector_folder(models / "preprocessors" / "person_detector", labels=("cat", "dog"))
    with pytest.raises(RenderFailed, match="person") as failure:
        control.hint("openpose", house(), 64, 64, models)
    assert failure.value.code == "model_unreadable"


def test_joints_lie_where_the_heat_is(models):
    """A window of the picture goes to the network; its answer must come back to the picture's own pixels."""
    model = pose.PoseModel(pose_folder(models / "preprocessors" / "openpose"), "cpu")
    heat = torch.zeros(1, 17, 16, 12)
    heat[0, :, 8, 6] = 1.0
    model._model = lambda **_: type("Answer", (), {"heatmaps": heat})()
    joints = model.joints(noise(200, 100), (100.0, 20.0, 40.0, 60.0))
    assert joints.shape == (17, 3)
    assert np.abs(joints[:, :2] - np.array((120.0, 50.0))).max() < 4  # the middle of the box
    assert joints[:, 2].tolist() == [1.0] * 17


def test_openpose_has_a_neck_between_the_shoulders():
    coco = np.zeros((17, 3), dtype=np.float32)
    coco[5], coco[6] = (10, 20, 0.9), (30, 40, 0.5)
    points = pose.openpose_points(coco)
    assert points.shape == (18, 3)
    assert points[1].tolist() == [20, 30, 0.5]
    assert points[5].tolist() == [10, 20, np.float32(0.9)]


def test_joints_that_are_not_sure_are_not_drawn():
    points = np.zeros((18, 3), dtype=np.float32)
    points[:, :2] = 32
    assert pose.draw([points], (64, 64)).getbbox() is None
    points[0, 2] = 1.0
    assert pose.draw([points], (64, 64)).getpixel((32, 32)) == (255, 0, 0)


def test_a_loaded_network_is_kept_until_release(models):
    path = save_state(hed_state(), models / "preprocessors" / "ControlNetHED.pth")
    control.hint("hed", house(), 32, 32, models)
    path.write_bytes(b"torn")
    control.hint("hed", house(), 32, 32, models)
    control.release()
    with pytest.raises(RenderFailed) as failure:
        control.hint("hed", house(), 32, 32, models)
    assert failure.value.code == "model_unreadable"


@pytest.mark.parametrize("folder", ["depth", "segmentation", "openpose"])
def test_a_damaged_model_folder_is_an_error_that_names_it(models, folder):
    (models / "preprocessors" / folder).mkdir()
    (models / "preprocessors" / folder / "config.json").write_text("{}")
    with pytest.raises(RenderFailed, match=folder) as failure:
        control.hint(folder, house(), 32, 32, models)
    assert failure.value.code == "model_unreadable"


def test_a_folder_with_the_weights_of_another_model_is_refused(models):
    folder = depth_folder(models / "preprocessors" / "depth")
    save_state({"unrelated.weight": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(RenderFailed, match="depth") as failure:
        control.hint("depth", house(), 32, 32, models)
    assert failure.value.code == "model_unreadable"


# --- Preprocessor settings --------------------------------------------------------------------------------------------
