"""How a picture was made, as the text that image programs look for in its file: the prompt, then what drew it.

The layout is the one that such programs share: the prompt, a line "Negative prompt: ...", and a last line of pairs
"Steps: 20, Sampler: Euler a, ...". It holds what was really used, and never an account, an address or a key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from inference.engine.spec import Operation, RenderSpec

CHUNK = "parameters"
# What these do is no drawing: no prompt, no seed, no steps.
UNDRAWN = frozenset({Operation.UPSCALE, Operation.REMOVE_BACKGROUND, Operation.CREATE_MASK, Operation.CHECK_SAFETY})
# Names that image programs know, for exactly the same sampler; others keep the name of their class.
SAMPLERS = {
    "EulerDiscreteScheduler": "Euler",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "LMSDiscreteScheduler": "LMS",
    "HeunDiscreteScheduler": "Heun",
    "KDPM2DiscreteScheduler": "DPM2",
    "KDPM2AncestralDiscreteScheduler": "DPM2 a",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "DPMSolverSDEScheduler": "DPM++ SDE",
    "PNDMScheduler": "PLMS",
    "DDIMScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "UniPCMultistepScheduler": "UniPC",
    "DEISMultistepScheduler": "DEIS",
    "LCMScheduler": "LCM",
    "TCDScheduler": "TCD",
}
ALGORITHM_SAMPLERS = {
    "sde-dpmsolver++": "DPM++ 2M SDE",
    "dpmsolver": "DPMSolverMultistepScheduler",
    "sde-dpmsolver": "DPMSolverMultistepScheduler",
}
# A JPEG file has room for 64 KiB of it.
EXIF_BYTES_MAX = 60_000


def settings_used(spec: RenderSpec, used: Mapping[str, Any], *, seed: int) -> dict[str, str]:
    """What a picture was drawn with, by the names that image programs use, in their order; empty for what was not
    drawn. `used` is the engine's report: fields that it changed. A field that had no effect is left out.
    """
    if spec.operation in UNDRAWN:
        return {}
    spec = RenderSpec.from_dict(spec.to_dict() | dict(used))
    found = {
        "Steps": f"{spec.num_inference_steps}",
        "Sampler": _sampler(spec),
        "Schedule type": "Karras" if spec.use_karras_sigmas else "",
        "CFG scale": f"{spec.guidance_scale:g}",
        "Seed": f"{seed}",
        "Size": f"{spec.width_px}x{spec.height_px}",
        "Model": spec.model.model_id,
        "VAE": spec.vae.adapter_id if spec.vae else "",
        "Denoising strength": f"{spec.strength:g}" if spec.operation != Operation.TEXT_TO_IMAGE else "",
        "Clip skip": f"{spec.clip_skip + 1}" if spec.clip_skip else "",
        "Lora": ", ".join(f"{lora.adapter_id}: {lora.strength:g}" for lora in spec.loras),
        "Embeddings": ", ".join(embedding.adapter_id for embedding in spec.embeddings),
        "IP-Adapter": f"{spec.ip_adapter.adapter_id}: {spec.ip_adapter.scale:g}" if spec.ip_adapter else "",
        "Postprocess upscale by": f"{spec.upscale.factor}" if spec.upscale else "",
    }
    found |= {f"ControlNet {place}": f"{one.kind}: {one.scale:g}" for place, one in enumerate(spec.controls)}
    return {name: value for name, value in found.items() if value}


def parameters_text(spec: RenderSpec, used: Mapping[str, Any], *, seed: int) -> str:
    """The whole text; empty where nothing was drawn, and where the account keeps its settings to itself."""
    pairs = settings_used(spec, used, seed=seed) if spec.parameters_in_pictures else {}
    if not pairs:
        return ""
    prompt, negative = (str(used.get(name, getattr(spec, name))).strip() for name in ("prompt", "negative_prompt"))
    lines = [prompt, f"Negative prompt: {negative}" if negative else "", ", ".join(map(_pair, pairs, pairs.values()))]
    return "\n".join(line for line in lines if line)


def png_text(text: str) -> PngImagePlugin.PngInfo | None:
    """For Image.save: Latin-1 as every reader understands it, and UTF-8 where the text needs it."""
    if not text:
        return None
    info = PngImagePlugin.PngInfo()
    info.add_text(CHUNK, text)
    return info


def exif_text(text: str) -> Image.Exif:
    """For Image.save of JPEG and WebP: the comment that readers expect there, or nothing where it has no room."""
    exif, comment = Image.Exif(), b"UNICODE\0" + text.encode("utf-16-be")
    if text and len(comment) <= EXIF_BYTES_MAX:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return exif


def _sampler(spec: RenderSpec) -> str:
    name = spec.scheduler or ""
    if name == "DPMSolverMultistepScheduler" and spec.algorithm_type in ALGORITHM_SAMPLERS:
        return ALGORITHM_SAMPLERS[spec.algorithm_type]
    return SAMPLERS.get(name, name)


def _pair(name: str, value: str) -> str:
    """A value that would be taken for several pairs is written as JSON."""
    return f"{name}: {json.dumps(value, ensure_ascii=False) if set(value) & set(',:') else value}"
