"""The gallery: sheets that show what was made, and say what was not."""

import numpy as np
from PIL import Image

from inference.engine import EngineImage, EngineOutput, RenderFailed
from inference.engine.spec import Family, ModelRef
from tools.contact_sheet import Cell, contact_sheet
from tools.gallery import Gallery, Sources

RED = Image.new("RGB", (8, 8), "#ff0000")


def test_a_sheet_grows_by_whole_rows():
    one, five = (contact_sheet("x", [Cell(caption="a", image=RED)] * count, columns=4, side_px=64) for count in (1, 5))
    assert one.width == five.width
    assert five.height > one.height + 64


def test_small_pictures_keep_their_pixels_and_large_ones_are_fitted():
    fine = Image.fromarray(np.indices((8, 8)).sum(axis=0).astype(np.uint8) % 2 * 255)
    for image in (fine, Image.new("RGB", (500, 250), "#ff0000")):
        sheet = contact_sheet("x", [Cell(caption="a", image=image)], columns=1, side_px=64)
        assert sheet.width < 120
    pixels = np.asarray(contact_sheet("x", [Cell(caption="a", image=fine)], columns=1, side_px=64).convert("L"))
    assert (pixels[60:64, 20:24] == pixels[60, 20]).all()


def test_transparency_shows_as_a_chequered_ground():
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    sheet = np.asarray(contact_sheet("x", [Cell(caption="a", image=clear)], columns=1, side_px=64))
    assert len(np.unique(sheet[60:110, 20:70].reshape(-1, 3), axis=0)) == 2


class FakeJob:
    def __init__(self, spec, log):
        self.spec, self.log = spec, log

    def result(self, timeout=None):
        self.log.append(("result", self.spec.token))
        if self.spec.upscale is not None:
            raise RenderFailed(code="model_missing", message="There is no upscaler.")
        return EngineOutput(images=[EngineImage(index=0, seed=1, image=RED, flagged=False)])


class FakeEngine:
    """Answers a red square, and has no upscaler."""

    def __init__(self, model_dir):
        self.log = []
        self.settings = type("Settings", (), {"model_dir": model_dir, "safety_dir": "safety"})()

    def submit(self, spec, inputs=None):
        assert set(spec.init_images) | ({spec.mask_image} if spec.mask_image else set()) <= set(inputs)
        self.log.append(("submit", spec.token))
        return FakeJob(spec, self.log)


def gallery(tmp_path) -> Gallery:
    model = ModelRef(model_id="m", family=Family.SD15, source="m")
    sources = Sources(
        model=model,
        upscaler="u",
        background="b",
        masks="m",
        controlnet="c",
        side_px=32,
        steps=1,
        guidance_scale=3.0,
    )
    return Gallery(FakeEngine(tmp_path), sources, tmp_path)


def test_every_operation_gets_a_sheet_and_a_failure_does_not_stop_the_rest(tmp_path):
    paths = gallery(tmp_path).draw()
    assert [path.stem for path in paths] == [
        *("text2img", "schedulers", "img2img", "inpaint", "outpaint", "controlnet", "upscale"),
        *("remove_background", "create_mask", "safety", "check_safety", "adapters", "options"),
    ]
    for path in paths:
        with Image.open(path) as sheet:
            red = (np.asarray(sheet.convert("RGB")) == (255, 0, 0)).all(axis=2).any()
        assert red == (path.stem != "upscale")


def test_all_pictures_of_a_sheet_are_ordered_before_the_first_is_awaited(tmp_path):
    made = gallery(tmp_path)
    made.draw()
    words = [word for word, token in made.engine.log if token.startswith("schedulers-")]
    assert words == ["submit"] * 8 + ["result"] * 8
    tokens = [token for word, token in made.engine.log if word == "submit"]
    assert len(tokens) == len(set(tokens))
