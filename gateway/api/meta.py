"""The `meta` of a reply: what was used, in the spellings of the older and the newer documentation at once.

It is read from the order and corrected by what the render engine reports. Numbers are numbers; switches are "yes" and
"no", as the API has them.
"""

from __future__ import annotations

from typing import Any

from gateway.api.asked import PICTURE
from gateway.api.fields import as_number, is_absent
from gateway.api.sampling import scheduler_choice
from inference.models import Generation

# Fields without any effect here, echoed as asked or as the documentation's defaults. docs/api.md lists them.
ECHOED_NUMBERS = {"injected_noise_alpha": 0.75, "sigma_threshold": 0.45, "true_cfg_scale": 1, "zero_steps": 0}
ECHOED_SWITCHES = {"use_cfg_zero_star": True, "use_zero_init": False}
# The stamp on a picture, which this service never makes.
NO_WATERMARK = {
    "watermark": "no",
    "opacity": 0.8,
    "padding_down": 10,
    "padding_right": 10,
    "scale_down": 6,
    "rescale": "yes",
    "full_url": "no",
    "outdir": "out",
    "enable_attention_slicing": "false",
}


def meta_of(generation: Generation) -> dict[str, Any]:
    asked, reply = generation.asked, generation.reply
    spec: dict[str, Any] = generation.spec | ((generation.result or {}).get("used") or {})
    meta: dict[str, Any] = {
        **_drawn(spec, generation),
        **_switches(spec),
        **_joined(spec),
        **_echoed(asked),
        "base64": yes(reply.get("base64")),
        "temp": yes(reply.get("temp")),
        "instant_response": yes(reply.get("instant_response")),
        "webhook": generation.webhook_url or None,
        "track_id": generation.track_id,
        "id": str(generation.pk),
        "file_prefix": generation.token,
        **NO_WATERMARK,
    }
    if spec["init_images"]:
        meta |= {"init_image": asked.get("init_image") or asked.get("image") or PICTURE, "strength": spec["strength"]}
    if spec["mask_image"]:
        meta["mask_image"] = asked.get("mask_image") or asked.get("mask") or PICTURE
    if spec["controls"]:
        meta |= _controls(spec, asked)
    if reply.get("adjusted"):
        meta["adjusted"] = reply["adjusted"]
    return meta


def yes(value: Any) -> str:
    return "yes" if value else "no"


def _drawn(spec: dict[str, Any], generation: Generation) -> dict[str, Any]:
    model = spec["model"]
    width_px, height_px, steps = spec["width_px"], spec["height_px"], spec["num_inference_steps"]
    return {
        "prompt": spec["prompt"],
        "negative_prompt": spec["negative_prompt"],
        "model_id": model["model_id"],
        "model": model["model_id"],
        "revision": model["revision"] or model["variant"] or "main",
        "W": width_px,
        "H": height_px,
        "width": width_px,
        "height": height_px,
        "steps": steps,
        "num_inference_steps": steps,
        "guidance_scale": spec["guidance_scale"],
        "seed": spec["seed"],
        "seeds": [image["seed"] for image in generation.images]
        or [spec["seed"] + index for index in range(spec["samples"])],
        "n_samples": spec["samples"],
        "samples": spec["samples"],
        "scheduler": scheduler_name(spec["scheduler"]),
        "algorithm_type": spec["algorithm_type"],
        "clip_skip": spec["clip_skip"] + 1,
    }


def scheduler_name(name: str | None) -> str | None:
    """The class behind a nickname; None while the model's own is not known yet."""
    choice = scheduler_choice(name) if name else None
    return choice.class_name if choice else name


def _switches(spec: dict[str, Any]) -> dict[str, Any]:
    safety, upscale = spec["safety"], spec["upscale"]
    return {
        "safety_checker": yes(safety["enabled"]),
        "safetychecker": yes(safety["enabled"]),
        "safety_checker_type": safety["action"],
        "enhance_prompt": yes(spec["enhance_prompt"]),
        "enhance_style": spec["enhance_style"],
        "use_karras_sigmas": yes(spec["use_karras_sigmas"]),
        "deterministic": yes(spec["deterministic"]),
        "tomesd": yes(spec["tomesd"]),
        "highres_fix": yes(spec["highres_fix"]),
        "panorama": yes(spec["panorama"]),
        "self_attention": yes(spec["self_attention"]),
        "upscale": upscale["factor"] if upscale else "no",
    }


def _joined(spec: dict[str, Any]) -> dict[str, Any]:
    loras, embeddings, vae, ip_adapter = spec["loras"], spec["embeddings"], spec["vae"], spec["ip_adapter"]
    joined: dict[str, Any] = {
        "lora": ",".join(lora["adapter_id"] for lora in loras) or None,
        "lora_strength": ",".join(f"{lora['strength']:g}" for lora in loras) or None,
        "embeddings": ",".join(one["adapter_id"] for one in embeddings) or None,
        "vae": vae["adapter_id"] if vae else "",
    }
    joined |= {"lora_model": joined["lora"], "embeddings_model": joined["embeddings"]}
    if ip_adapter:
        joined |= {"ip_adapter_id": ip_adapter["adapter_id"], "ip_adapter_scale": ip_adapter["scale"]}
    return joined


def _controls(spec: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    kinds = ",".join(control["kind"] for control in spec["controls"])
    scales = ",".join(f"{control['scale']:g}" for control in spec["controls"])
    return {
        "controlnet_model": kinds,
        "controlnet_type": str(asked.get("controlnet_type") or kinds),
        "controlnet_conditioning_scale": scales,
        "auto_hint": yes(any(control["auto_hint"] for control in spec["controls"])),
        "guess_mode": yes(spec["guess_mode"]),
        "strength": spec["strength"],
    }


def _echoed(asked: dict[str, Any]) -> dict[str, Any]:
    echoed: dict[str, Any] = {"multi_lingual": "no"}
    for name, default in ECHOED_NUMBERS.items():
        number = as_number(asked[name]) if name in asked and not is_absent(asked[name]) else None
        echoed[name] = default if number is None else int(number) if number.is_integer() else number
    for name, switch in ECHOED_SWITCHES.items():
        value = asked.get(name)
        echoed[name] = switch if is_absent(value) else str(value).strip().lower() in ("yes", "true", "1", "on")
    return echoed
