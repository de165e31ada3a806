"""Pictures on their way between a render and storage: which ones it reads, and the bytes of those that it made."""

from __future__ import annotations

import io

from PIL import Image

from inference.engine.parameters import exif_text, png_text
from inference.engine.spec import RenderSpec

FORMATS = {"png": ("PNG", "image/png"), "jpg": ("JPEG", "image/jpeg"), "webp": ("WEBP", "image/webp")}


def input_keys(spec: RenderSpec) -> list[str]:
    """Every picture in storage that this render reads."""
    keys = [*spec.init_images, spec.mask_image, *(control.image for control in spec.controls)]
    if spec.ip_adapter:
        keys.append(spec.ip_adapter.image)
    return [key for key in dict.fromkeys(keys) if key]


def encode(image: Image.Image, *, key: str, parameters: str) -> tuple[bytes, str]:
    """The file's bytes and content type, by the key's ending. The parameters stand beside the pixels, not in them."""
    format_name, content_type = FORMATS[key.rsplit(".", 1)[-1]]
    buffer = io.BytesIO()
    if format_name == "PNG":
        image.save(buffer, "PNG", pnginfo=png_text(parameters), compress_level=4)
    else:
        image.convert("RGB").save(buffer, format_name, quality=92, exif=exif_text(parameters))
    return buffer.getvalue(), content_type
