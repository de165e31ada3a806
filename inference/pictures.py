"""Pictures on their way between a render and storage: which ones it reads, and the bytes of those that it made."""

from __future__ import annotations

import io
import json

from PIL import Image, PngImagePlugin

from inference.engine.spec import RenderSpec

FORMATS = {"png": ("PNG", "image/png"), "jpg": ("JPEG", "image/jpeg"), "webp": ("WEBP", "image/webp")}


def input_keys(spec: RenderSpec) -> list[str]:
    """Every picture in storage that this render reads."""
    keys = [*spec.init_images, spec.mask_image, *(control.image for control in spec.controls)]
    if spec.ip_adapter:
        keys.append(spec.ip_adapter.image)
    return [key for key in dict.fromkeys(keys) if key]


def encode(image: Image.Image, *, key: str, parameters: str) -> tuple[bytes, str]:
    """The file's bytes and content type, by the key's ending; a PNG carries its parameters as text."""
    format_name, content_type = FORMATS[key.rsplit(".", 1)[-1]]
    buffer = io.BytesIO()
    if format_name == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("parameters", parameters)
        image.save(buffer, "PNG", pnginfo=info, compress_level=4)
    else:
        image.convert("RGB").save(buffer, format_name, quality=92)
    return buffer.getvalue(), content_type


def parameters_text(spec: RenderSpec, seed: int) -> str:
    """What makes this picture again, as JSON: never an account, an address or a key."""
    return json.dumps(
        {
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt,
            "model_id": spec.model.model_id,
            "width": spec.width_px,
            "height": spec.height_px,
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "scheduler": spec.scheduler,
            "seed": seed,
        }
    )
