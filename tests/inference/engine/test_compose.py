"""Canvases and masks of inpainting and outpainting: what is black stays, to the byte."""

import numpy as np
import pytest
from PIL import Image

from inference.engine import compose, pixels
from inference.engine.errors import RenderFailed
from tests.support.tiny_operations import disc, noise


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


def test_the_picture_lies_unchanged_in_the_middle_of_the_canvas():
    image = noise(60, 40)
    canvas, mask = compose.outpaint_canvas(image, 100, 80, 0)
    assert canvas.size == mask.size == (100, 80)
    assert (array(canvas)[20:60, 20:80] == array(image)).all()
    assert (array(mask)[20:60, 20:80] == 0).all()
    assert array(mask)[:20].min() == array(mask)[60:].min() == array(mask)[:, :20].min() == 255


def test_the_overlap_fades_inwards_from_every_edge_that_is_painted_beyond():
    _, mask = compose.outpaint_canvas(noise(60, 40), 100, 80, 8)
    row = array(mask)[40]
    assert (np.diff(row[19:29]) < 0).all()
    assert row[19] == 255
    assert row[28] == 0
    assert (row == row[::-1]).all()


def test_edges_that_touch_the_canvas_do_not_fade():
    _, mask = compose.outpaint_canvas(noise(60, 80), 100, 80, 8)
    assert (array(mask)[:, 30:70] == 0).all()
    assert array(mask)[0, 20] > 0


def test_a_larger_picture_is_scaled_down_and_never_distorted():
    canvas, mask = compose.outpaint_canvas(disc(400, 400), 128, 72, 4)
    kept = np.flatnonzero(array(mask)[36] == 0)
    assert canvas.size == (128, 72)
    assert len(kept) == 72 - 2 * 4
    red = np.argwhere(array(canvas)[..., 0] > 150)
    height, width = red.max(axis=0) - red.min(axis=0)
    assert abs(int(height) - int(width)) <= 1


def test_a_small_picture_is_not_enlarged():
    canvas, _ = compose.outpaint_canvas(noise(10, 10), 64, 64, 2)
    assert (array(canvas)[27:37, 27:37] == array(noise(10, 10))).all()


def test_even_a_huge_overlap_leaves_half_of_the_picture():
    _, mask = compose.outpaint_canvas(noise(40, 40), 80, 80, 500)
    assert (array(mask) == 0).sum() == 20 * 20


def test_the_empty_area_starts_from_the_colours_at_the_border():
    canvas, _ = compose.outpaint_canvas(Image.new("RGB", (40, 40), "#10a020"), 80, 60, 4)
    assert np.abs(array(canvas) - np.array((0x10, 0xA0, 0x20))).max() <= 1


@pytest.mark.parametrize("size", [(64, 32), (128, 64)])
def test_a_canvas_that_leaves_nothing_to_paint_is_refused(size):
    with pytest.raises(RenderFailed, match="64 x 32") as failure:
        compose.outpaint_canvas(noise(*size), 64, 32, 4)
    assert failure.value.code == "nothing_to_paint"


def test_black_keeps_the_original_byte_for_byte_and_white_takes_the_new():
    original, rendered = noise(64, 48, seed=1), noise(64, 48, seed=2)
    mask = Image.new("L", (64, 48), 0)
    mask.paste(255, (10, 10, 30, 40))
    result = array(compose.paste_unmasked(original, rendered, mask))
    inside = array(mask)[..., None] == 255
    assert (result == np.where(inside, array(rendered), array(original))).all()


def test_grey_blends_between_the_two():
    old, new = Image.new("RGB", (2, 1), (0, 0, 255)), Image.new("RGB", (2, 1), (255, 100, 255))
    mask = Image.fromarray(np.array([[51, 204]], dtype=np.uint8))
    result = array(compose.paste_unmasked(old, new, mask))
    assert result.tolist() == [[[51, 20, 255], [204, 80, 255]]]


def test_blends_are_rounded_to_the_nearest_grey_level():
    old, new = Image.new("RGB", (1, 1), (10, 10, 10)), Image.new("RGB", (1, 1), (11, 11, 11))
    assert compose.paste_unmasked(old, new, Image.new("L", (1, 1), 200)).getpixel((0, 0)) == (11, 11, 11)
    assert compose.paste_unmasked(old, new, Image.new("L", (1, 1), 50)).getpixel((0, 0)) == (10, 10, 10)


def test_pictures_of_different_sizes_are_not_pasted():
    with pytest.raises(RenderFailed) as failure:
        compose.paste_unmasked(noise(8, 8), noise(8, 9), Image.new("L", (8, 8)))
    assert failure.value.code == "invalid_size"


def test_a_mask_is_cut_exactly_as_its_picture():
    """The white disc of the mask must cover the red disc of the picture after both were fitted."""
    image, mask = disc(200, 100), disc(200, 100, "white", "black")
    fitted, prepared = pixels.cover(image, 64, 64), compose.prepare_mask(mask, image.size, 64, 64)
    red = array(fitted)[..., 0] > 120
    assert prepared.mode == "L"
    assert (red == (array(prepared) > 127)).mean() > 0.99


def test_a_mask_of_another_resolution_but_the_same_shape_is_scaled():
    prepared = compose.prepare_mask(disc(50, 25, "white", "black"), (400, 200), 400, 200)
    assert prepared.size == (400, 200)
    assert array(prepared)[100, 200] == 255
    assert array(prepared)[0, 0] == 0


def test_a_mask_of_another_shape_is_refused_with_both_sizes():
    with pytest.raises(RenderFailed, match=r"50 x 50.*400 x 200") as failure:
        compose.prepare_mask(Image.new("L", (50, 50), 255), (400, 200), 64, 64)
    assert failure.value.code == "invalid_mask"


def test_a_mask_without_white_is_refused():
    with pytest.raises(RenderFailed) as failure:
        compose.prepare_mask(Image.new("RGB", (40, 20), (9, 9, 9)), (40, 20), 64, 32)
    assert failure.value.code == "empty_mask"


def test_nearly_black_and_nearly_white_of_compressed_masks_become_firm():
    levels = np.array([[4, 250]], dtype=np.uint8).repeat(8, axis=1).repeat(16, axis=0)
    prepared = compose.prepare_mask(Image.fromarray(levels), (16, 16), 16, 16)
    assert set(array(prepared)[0].tolist()) == {0, 255}


def test_white_strokes_on_a_transparent_layer_are_the_mask():
    layer = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    layer.paste((255, 255, 255, 255), (8, 8, 16, 16))
    prepared = array(compose.prepare_mask(layer, (32, 32), 32, 32))
    assert prepared[10, 10] == 255
    assert prepared[0, 0] == 0


def test_covering_a_frame_cuts_the_sides_and_keeps_the_middle():
    fitted = pixels.cover(disc(200, 100), 50, 50)
    assert fitted.size == (50, 50)
    red = np.argwhere(array(fitted)[..., 0] > 120)
    assert abs(red.mean(axis=0) - 24.5).max() < 0.6
    spread = red.max(axis=0) - red.min(axis=0)
    assert abs(int(spread[0]) - int(spread[1])) <= 1


def test_transparent_parts_of_a_picture_become_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert pixels.opaque(clear).getpixel((0, 0)) == (255, 255, 255)


def test_pictures_are_turned_as_their_camera_says():
    stored = Image.new("RGB", (20, 10), "black")
    stored.paste("white", (0, 0, 10, 10))
    stored.getexif()[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    shown = pixels.opaque(stored)
    assert shown.size == (10, 20)
    assert shown.getpixel((5, 2)) == (255, 255, 255)
    assert shown.getpixel((5, 17)) == (0, 0, 0)


def test_sixteen_bit_greys_keep_their_shades():
    deep = Image.fromarray(np.array([[0, 256 * 100, 65535]], dtype=np.uint16))
    assert array(pixels.opaque(deep))[0, :, 0].tolist() == [0, 100, 255]


def test_pictures_beyond_the_pixel_limit_are_refused():
    with pytest.raises(RenderFailed, match="4097 x 4097") as failure:
        pixels.opaque(Image.new("1", (4097, 4097)))
    assert failure.value.code == "image_too_large"
