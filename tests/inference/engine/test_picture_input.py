"""How pictures are prepared for networks, as their published settings say."""

import json

import pytest
from PIL import Image

from inference.engine.errors import RenderFailed
from inference.engine.picture_input import PictureInput

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


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": {"height": 32, "width": 48}}, (48, 32)),
        ({"size": 32}, (32, 32)),
        ({"size": {"shortest_edge": 50}}, (100, 50)),
        ({"size": {"shortest_edge": 50, "longest_edge": 60}}, (60, 30)),
        ({"size": 50, "max_size": 60}, (60, 30)),
        ({"size_divisor": 32}, (192, 96)),
        ({"do_resize": False, "size": 9}, (200, 100)),
        ({"size": {"height": 70, "width": 70}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}, (140, 70)),
        ({"size": 10**6}, (2048, 2048)),
    ],
)
def test_sizes_follow_the_published_settings(settings, size):
    assert PictureInput(settings).size(200, 100) == size


@pytest.mark.parametrize("text", [None, "no json", "[1]", '{"size": {"area": 9}}', '{"resample": 77, "size": 8}'])
def test_settings_that_cannot_be_followed_are_refused_when_they_are_read(tmp_path, text):
    if text is not None:
        (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(RenderFailed, match="preprocessor_config") as failure:
        PictureInput.read(tmp_path)
    assert failure.value.code == "model_unreadable"


def test_pixels_are_scaled_and_normalised_as_the_settings_say(tmp_path):
    settings = {"do_resize": False, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 1.0]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    white = Image.new("RGB", (2, 3), "white")
    tensor = PictureInput.read(tmp_path).tensor(white, "cpu")
    assert tensor.shape == (1, 3, 3, 2)
    assert tensor[0, :, 0, 0].tolist() == [2.0, 1.0, 0.5]
    raw = PictureInput(settings | {"do_normalize": False, "do_rescale": False}).tensor(white, "cpu")
    assert raw.unique().tolist() == [255.0]
