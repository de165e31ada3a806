"""The numbers and switches of a drawing: steps, guidance, seed, scheduler and what else shapes the denoising."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

from gateway.api.fields import Fields, as_whole
from gateway.api.profiles import Profile
from inference.engine import scheduler_names
from inference.engine.spec import Family, SafetySpec, UpscaleSpec
from inference.selectors import CatalogueModel

GUIDANCE_SCALE_MAX = 20.0
# The API's usual one, which the documented defaults of its routes are meant for. A model whose row says another has its
# own reason (a distilled one none at all, the demo model 3), and that then holds on every route.
GUIDANCE_SCALE_USUAL = 7.5
# Seeds are what torch takes and JSON readers keep whole; image k adds k.
SEED_MAX = 2**53 - 1
SEED_DRAWN_BELOW = 2**32
CLIP_SKIP_MAX = 8
SAFETY_ACTIONS = ("blur", "sensitive_content_text", "pixelate", "black")
# The fields below them in the documentation are ignored by flow models.
UNET_FAMILIES = frozenset({Family.SD15, Family.SDXL})
FLOW_FAMILIES = frozenset({Family.SD3, Family.FLUX})
# The generations whose documentation has no use_karras_sigmas (default yes in the others).
BEFORE_KARRAS = frozenset({"v3"})
# The generations whose documentation has the checker on unless it is switched off.
CHECKED_BY_DEFAULT = frozenset({"v3", "v4"})


def sampling_read(fields: Fields, profile: Profile, model: CatalogueModel, *, version: str) -> dict[str, Any]:
    """These fields as arguments of RenderSpec."""
    samples = fields.whole("samples", default=1, low=1, high=model.samples_max)
    arguments: dict[str, Any] = {
        "samples": samples,
        "num_inference_steps": fields.whole(
            "num_inference_steps",
            "steps",
            default=min(profile.steps or model.steps_default, model.steps_max),
            low=1,
            high=model.steps_max,
        ),
        "guidance_scale": fields.number(
            "guidance_scale",
            "guidance",
            default=guidance_default(profile, model),
            low=0.0,
            high=GUIDANCE_SCALE_MAX,
        ),
        "seed": seed_read(fields, samples),
        "strength": fields.number("strength", "prompt_strength", default=profile.strength, low=0.0, high=1.0),
        "safety": safety_read(fields, version=version),
        "deterministic": fields.flag("deterministic", default=False),
        **scheduler_read(fields, model, version=version),
    }
    if model.family in UNET_FAMILIES:
        arguments |= _unet_only(fields)
    if model.family is not Family.FLUX:
        arguments |= {
            "enhance_prompt": fields.flag("enhance_prompt", default=False),
            "enhance_style": fields.text("enhance_style", chars_max=60) or None,
            "upscale": upscale_read(fields),
        }
    return arguments


def guidance_default(profile: Profile, model: CatalogueModel) -> float:
    """The route's documented guidance for a usual model, else the model's own."""
    own = model.guidance_scale_default
    return own if profile.guidance_scale is None or own != GUIDANCE_SCALE_USUAL else profile.guidance_scale


def seed_read(fields: Fields, samples: int) -> int:
    """The seed asked for, or a drawn one: absent and -1 mean "any"."""
    value = fields.value("seed")
    seed = -1 if value is None else as_whole(value)
    if seed is None:
        fields.fault("seed", "invalid", "must be a whole number", value)
        return 0
    if seed == -1:
        return random.randrange(SEED_DRAWN_BELOW)  # noqa: S311 - no secret, and the system's source gives up the thread
    if not 0 <= seed <= SEED_MAX - samples:
        message = f"must be -1 for a random one, or between 0 and {SEED_MAX - samples}"
        fields.fault("seed", "invalid", message, value, limit=SEED_MAX - samples)
        return 0
    return seed


def safety_read(fields: Fields, *, version: str) -> SafetySpec:
    enabled = fields.flag("safety_checker", default=version in CHECKED_BY_DEFAULT)
    action = fields.choice("safety_checker_type", default="sensitive_content_text", choices=SAFETY_ACTIONS)
    return SafetySpec(enabled=enabled, action=action)


def scheduler_read(fields: Fields, model: CatalogueModel, *, version: str) -> dict[str, Any]:
    """Names of the documentation and of other interfaces; without one, the model's own scheduler as it was trained."""
    name = fields.text("scheduler", chars_max=80)
    if not name:
        karras = fields.flag("use_karras_sigmas", default=False)
        return {"scheduler": model.scheduler_default or None, "use_karras_sigmas": karras}
    choice = scheduler_choice(name)
    if choice is None:
        fields.fault("scheduler", "unknown", "is not a known scheduler (the route schedulers_list names them)", name)
        return {}
    documented = " " not in name and not choice.settings
    by_default = documented and version not in BEFORE_KARRAS and model.family not in FLOW_FAMILIES
    implied = bool(choice.settings.get("use_karras_sigmas", by_default))
    return {
        # A name that means more than a class stays as it is: the engine knows the rest of its meaning.
        "scheduler": name if choice.settings or choice.note else choice.class_name,
        "use_karras_sigmas": fields.flag("use_karras_sigmas", default=implied),
        "algorithm_type": _algorithm(fields) or choice.settings.get("algorithm_type"),
    }


def _algorithm(fields: Fields) -> str | None:
    name = fields.text("algorithm_type", chars_max=40)
    if not name:
        return None
    known = scheduler_names.ALGORITHMS.get(name.strip().lower())
    if known is None:
        names = sorted(scheduler_names.ALGORITHMS)
        fields.fault("algorithm_type", "unknown", f"must be one of none, {', '.join(names)}", name, limit=names)
    return known


@lru_cache(maxsize=512)
def scheduler_choice(name: str) -> scheduler_names.Choice | None:
    return scheduler_names.resolve(name)


def upscale_read(fields: Fields) -> UpscaleSpec | None:
    """yes is two times; the older spelling is the factor itself."""
    value = fields.value("upscale")
    if value is None:
        return None
    factor = as_whole(value)
    if factor is None or isinstance(value, bool):
        factor = 2 if fields.flag("upscale", default=False) else 1
    if not 0 <= factor <= 4:
        fields.fault("upscale", "invalid", "must be yes, no, or a factor from 1 to 4", value, limit=4)
    return UpscaleSpec(factor=factor) if factor > 1 else None


def _unet_only(fields: Fields) -> dict[str, Any]:
    # The API counts as its users do: 1 is the last layer, 2 the one before it.
    clip_skip = fields.whole("clip_skip", default=1, low=1, high=CLIP_SKIP_MAX)
    return {
        "clip_skip": clip_skip - 1,
        "tomesd": fields.flag("tomesd", default=False),
        "highres_fix": fields.flag("highres_fix", default=False),
        "panorama": fields.flag("panorama", default=False),
        "self_attention": fields.flag("self_attention", default=False),
    }
