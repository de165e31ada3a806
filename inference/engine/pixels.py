"""The common ground of the picture operations: size limits, modes, and fitting a picture into a frame.

Nothing here needs torch, and nothing here changes a picture in place.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageOps

from inference.engine.errors import RenderFailed

# 16.8 megapixels in: float work copies of such a picture stay under half a gigabyte.
INPUT_MAX_PX = 4096 * 4096
# 67 megapixels out: 8K (7680 x 4320 = 33 megapixels) with room for square formats; 200 MB as RGB bytes.
OUTPUT_MAX_PX = 8192 * 8192
# How far colours reach into what is hidden: farther than any network or resampling looks across an edge.
FRINGE_WINDOW_PX = (65, 65)


def check_size(width_px: int, height_px: int, *, limit_px: int, what: str) -> None:
    """Refuse a picture of more than `limit_px` pixels, or of none. `what` names it in the message."""
    if width_px < 1 or height_px < 1:
        raise RenderFailed(code="invalid_size", message=f"{what}: {width_px} x {height_px} px holds no pixel.")
    if width_px * height_px > limit_px:
        raise RenderFailed(
            code="image_too_large",
            message=f"{what}: {width_px} x {height_px} px is more than the limit of {limit_px} pixels.",
        )


def upright(image: Image.Image, *, limit_px: int = INPUT_MAX_PX) -> Image.Image:
    """The picture as viewers show it: turned as its EXIF data says, 16-bit greys brought to 8 bits."""
    check_size(image.width, image.height, limit_px=limit_px, what="image")
    turned = ImageOps.exif_transpose(image)
    if turned.mode == "I" or turned.mode.startswith("I;16"):
        levels = np.asarray(turned, dtype=np.int64).clip(0, 65535) // 256
        turned = Image.fromarray(levels.astype(np.uint8))
    return turned


def opaque(image: Image.Image, *, limit_px: int = INPUT_MAX_PX) -> Image.Image:
    """The upright picture as RGB. Transparent parts become white, as every viewer of a transparent PNG expects."""
    image = upright(image, limit_px=limit_px)
    if not has_alpha(image):
        return image.convert("RGB")
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB")


def visible_colours(image: Image.Image) -> Image.Image:
    """The colours of a picture with transparency, without it: what is hidden takes the colours of what is near.

    Work on these colours, then putting the alpha back, leaves no fringe of white or of the colours that were hidden.
    """
    layers = np.asarray(image.convert("RGBA"), dtype=np.float32)
    colours, alpha = layers[..., :3], layers[..., 3:] / 255
    near = cv2.blur(colours * alpha, FRINGE_WINDOW_PX)
    weight = cv2.blur(alpha, FRINGE_WINDOW_PX)[..., None]
    filled = np.where(alpha > 0, colours, np.where(weight > 1e-3, near / np.maximum(weight, 1e-3), 255))
    return Image.fromarray(filled.clip(0, 255).round().astype(np.uint8))


def has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def cover(image: Image.Image, width_px: int, height_px: int) -> Image.Image:
    """Scale the picture until it covers the frame, then cut the middle out: no bars, no distortion.

    Hints, init pictures and masks all go through here, so that they stay aligned with each other.
    """
    check_size(width_px, height_px, limit_px=OUTPUT_MAX_PX, what="target")
    if image.size == (width_px, height_px):
        return image.copy()
    scale = max(width_px / image.width, height_px / image.height)
    crop_width, crop_height = width_px / scale, height_px / scale
    left, top = (image.width - crop_width) / 2, (image.height - crop_height) / 2
    box = (max(left, 0.0), max(top, 0.0), min(left + crop_width, image.width), min(top + crop_height, image.height))
    return image.resize((width_px, height_px), Image.Resampling.LANCZOS, box=box)
