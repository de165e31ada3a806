"""Canvases and masks: what the inpainting model is given, and how its answer is laid over the original.

White means repaint, everywhere. Pixels whose mask is black leave this module byte for byte as they came in.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from inference.engine.errors import RenderFailed
from inference.engine.pixels import OUTPUT_MAX_PX, check_size, cover, opaque, upright

# JPEG masks are never quite black or white; a mask that is meant to be binary must not blend by accident.
NEARLY_BLACK, NEARLY_WHITE = 16, 239
# Two pictures count as the same shape when their aspects differ by less than rounding to 8 px can cause.
ASPECT_TOLERANCE = 0.05


def outpaint_canvas(
    image: Image.Image, width_px: int, height_px: int, overlap_px: int
) -> tuple[Image.Image, Image.Image]:
    """The picture centred on the target canvas, and the mask of what is to be painted around it.

    A picture larger than the canvas is scaled down to fit; it is never scaled up. `overlap_px` at each edge that
    borders on new area fades from white to black in the mask, so that new and old blend. The empty area is filled with
    stretched border pixels, the best start for a model that keeps some of what it is given.
    """
    check_size(width_px, height_px, limit_px=OUTPUT_MAX_PX, what="target")
    if overlap_px < 0:
        raise RenderFailed(code="invalid_overlap", message=f"overlap_width: {overlap_px} is negative.")
    inner = _fitted(opaque(image), width_px, height_px)
    if inner.size == (width_px, height_px):
        message = (
            f"The picture fills the whole canvas of {width_px} x {height_px} px: there is nothing to paint around it. "
            "Ask for a larger canvas or one of another shape."
        )
        raise RenderFailed(code="nothing_to_paint", message=message)
    left, top = (width_px - inner.width) // 2, (height_px - inner.height) // 2
    margins = (top, height_px - inner.height - top, left, width_px - inner.width - left)
    return _extended(inner, margins), _outpaint_mask(inner.size, margins, overlap_px)


def prepare_mask(mask: Image.Image, image_size: tuple[int, int], width_px: int, height_px: int) -> Image.Image:
    """The client's mask as one channel of the target size, cut exactly as `pixels.cover` cuts the picture.

    The mask must have the shape of the picture of `image_size`; only its resolution may differ. A mask without any
    white is refused, since nothing would change.
    """
    mask = upright(mask)
    aspect, wanted = mask.width / mask.height, image_size[0] / image_size[1]
    if abs(aspect / wanted - 1) > ASPECT_TOLERANCE:
        picture = f"{image_size[0]} x {image_size[1]} px"
        message = f"mask_image: {mask.width} x {mask.height} px is not the shape of the picture ({picture})."
        raise RenderFailed(code="invalid_mask", message=message)
    grey = _grey(mask)
    if grey.size != image_size:
        grey = grey.resize(image_size, Image.Resampling.BILINEAR)
    levels = np.asarray(cover(grey, width_px, height_px))
    levels = np.where(levels <= NEARLY_BLACK, 0, np.where(levels >= NEARLY_WHITE, 255, levels)).astype(np.uint8)
    if not levels.any():
        raise RenderFailed(code="empty_mask", message="mask_image: it has no white part, so nothing would be painted.")
    return Image.fromarray(levels)


def paste_unmasked(original: Image.Image, rendered: Image.Image, mask: Image.Image) -> Image.Image:
    """The rendered picture where the mask is white, the original where it is black, a blend in between."""
    if not original.size == rendered.size == mask.size:
        message = f"original {original.size}, rendered {rendered.size} and mask {mask.size} differ in size."
        raise RenderFailed(code="invalid_size", message=message)
    share = np.asarray(mask.convert("L"), dtype=np.uint16)[..., None]
    old = np.asarray(original.convert("RGB"), dtype=np.uint16)
    new = np.asarray(rendered.convert("RGB"), dtype=np.uint16)
    # Integers: a share of 0 gives the old byte and 255 the new byte exactly. 255 * 255 + 127 fits in 16 bits.
    blended = (old * (255 - share) + new * share + 127) // 255
    return Image.fromarray(blended.astype(np.uint8))


def _fitted(image: Image.Image, width_px: int, height_px: int) -> Image.Image:
    scale = min(width_px / image.width, height_px / image.height)
    if scale >= 1:
        return image
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, Image.Resampling.LANCZOS)


def _extended(inner: Image.Image, margins: tuple[int, int, int, int]) -> Image.Image:
    """The border pixels drawn outwards and blurred: plain stretching leaves hard streaks that the model would keep."""
    stretched = cv2.copyMakeBorder(np.asarray(inner), *margins, cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(stretched, (0, 0), sigmaX=max(max(margins) / 8, 1.0))
    top, left = margins[0], margins[2]
    soft[top : top + inner.height, left : left + inner.width] = np.asarray(inner)
    return Image.fromarray(soft.astype(np.uint8))


def _outpaint_mask(size: tuple[int, int], margins: tuple[int, int, int, int], overlap_px: int) -> Image.Image:
    width, height = size
    top, bottom, left, right = margins
    rows = _fade(height, top > 0, bottom > 0, overlap_px)
    columns = _fade(width, left > 0, right > 0, overlap_px)
    inside = np.maximum(rows[:, None], columns[None, :])
    return Image.fromarray(np.pad(inside, ((top, bottom), (left, right)), constant_values=255))


def _fade(length_px: int, at_start: bool, at_end: bool, overlap_px: int) -> NDArray[np.uint8]:
    """Grey levels from a fading edge inwards. Half of the length always stays the original."""
    overlap_px = min(overlap_px, length_px // 4)
    levels: NDArray[np.float32] = np.zeros(length_px, dtype=np.float32)
    ramp = 255 * (1 - (np.arange(overlap_px, dtype=np.float32) + 1) / (overlap_px + 1))
    if at_start:
        levels[:overlap_px] = ramp
    if at_end:
        levels[length_px - overlap_px :] = np.maximum(levels[length_px - overlap_px :], ramp[::-1])
    return levels.round().astype(np.uint8)


def _grey(mask: Image.Image) -> Image.Image:
    """Transparent parts of a mask count as black: erased areas are marked by painting white, not by a hole."""
    if mask.mode in ("RGBA", "LA", "PA") or "transparency" in mask.info:
        layered = mask.convert("RGBA")
        mask = Image.alpha_composite(Image.new("RGBA", layered.size, "black"), layered)
    return mask.convert("L")
