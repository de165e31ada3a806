"""Every way to name a scheduler, as data: the documented class names, the short ones, and other interfaces' nicknames.

Pure: the gateway may ask `resolve` whether a name is known without importing torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Choice:
    """A diffusers class, settings that the name implies, and what to tell when the name cannot be honoured as such."""

    class_name: str
    settings: dict[str, Any] = field(default_factory=dict)
    note: str = ""


SDE = {"algorithm_type": "sde-dpmsolver++"}
CLASSIC = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "DPMSolverSDEScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "IPNDMScheduler",
    "LCMScheduler",
    "TCDScheduler",
    "SASolverScheduler",
)
FLOW = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")

# Documented names that diffusers cannot run on latent models, and their nearest relatives.
SUBSTITUTES = {
    "DDIMInverseScheduler": Choice(
        "DDIMScheduler", note="DDIMInverseScheduler turns pictures into noise and cannot draw; DDIMScheduler was used."
    ),
    "KarrasVeScheduler": Choice(
        "HeunDiscreteScheduler",
        {"use_karras_sigmas": True},
        "KarrasVeScheduler is for pixel models; HeunDiscreteScheduler on Karras noise levels was used.",
    ),
    "ScoreSdeVeScheduler": Choice(
        "EulerAncestralDiscreteScheduler",
        note="ScoreSdeVeScheduler is for pixel models; EulerAncestralDiscreteScheduler was used.",
    ),
}
# Names of the AUTOMATIC1111 interface, as its users send them. "karras" or "exponential" may follow each; `_plain` also
# understands the spellings of ComfyUI and k-diffusion.
NICKNAMES = {
    "euler": Choice("EulerDiscreteScheduler"),
    "euler a": Choice("EulerAncestralDiscreteScheduler"),
    "euler ancestral": Choice("EulerAncestralDiscreteScheduler"),
    "lms": Choice("LMSDiscreteScheduler"),
    "heun": Choice("HeunDiscreteScheduler"),
    "dpm fast": Choice(
        "DPMSolverSinglestepScheduler", note="DPM fast is not available; DPMSolverSinglestepScheduler was used."
    ),
    "dpm adaptive": Choice(
        "DPMSolverMultistepScheduler",
        note="DPM adaptive chooses its own steps, which is not available; DPMSolverMultistepScheduler was used.",
    ),
    "restart": Choice(
        "HeunDiscreteScheduler", note="The Restart sampler is not available; HeunDiscreteScheduler was used."
    ),
    "dpm2": Choice("KDPM2DiscreteScheduler"),
    "dpm2 a": Choice("KDPM2AncestralDiscreteScheduler"),
    "dpm++ 2s a": Choice("DPMSolverSinglestepScheduler"),
    "dpm++ 2m": Choice("DPMSolverMultistepScheduler"),
    "dpm++ 2m sde": Choice("DPMSolverMultistepScheduler", SDE),
    "dpm++ 2m sde heun": Choice("DPMSolverMultistepScheduler", SDE | {"solver_type": "heun"}),
    "dpm++ 3m sde": Choice("DPMSolverMultistepScheduler", SDE | {"solver_order": 3}),
    "dpm++ sde": Choice("DPMSolverSDEScheduler"),
    "plms": Choice("PNDMScheduler"),
    "deis": Choice("DEISMultistepScheduler"),
    "unipc": Choice("UniPCMultistepScheduler"),
    "uni pc": Choice("UniPCMultistepScheduler"),
    "lcm": Choice("LCMScheduler"),
    "tcd": Choice("TCDScheduler"),
    "ddim": Choice("DDIMScheduler"),
    "ddpm": Choice("DDPMScheduler"),
}
NOISE_LEVELS = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas"}
# "dpmsolver+++" is how the documentation of the API writes it.
ALGORITHMS = {
    "dpmsolver": "dpmsolver",
    "dpmsolver++": "dpmsolver++",
    "dpmsolver+++": "dpmsolver++",
    "sde-dpmsolver": "sde-dpmsolver",
    "sde-dpmsolver++": "sde-dpmsolver++",
    "sde-dpmsolver+++": "sde-dpmsolver++",
}


def resolve(name: str) -> Choice | None:
    """The meaning of a scheduler's name in any documented spelling, or None when it has none."""
    text = " ".join(name.replace("_", " ").split())
    for candidate in (text, f"{text}Scheduler", f"{text}DiscreteScheduler", f"{text}MultistepScheduler"):
        for known in (*CLASSIC, *FLOW, *SUBSTITUTES):
            if known.lower() == candidate.lower():
                return SUBSTITUTES.get(known, Choice(known))
    plain, levels = _plain(text)
    choice = NICKNAMES.get(plain)
    if choice and levels:
        return Choice(choice.class_name, choice.settings | {levels: True}, choice.note)
    return choice


def _plain(text: str) -> tuple[str, str]:
    """A nickname as AUTOMATIC1111 spells it, and the setting of noise levels that its last word means, or ""."""
    plain, levels = text.lower().removesuffix(" scheduler"), ""
    for word, setting in NOISE_LEVELS.items():
        if plain.endswith(f" {word}"):
            plain, levels = plain.removesuffix(word).strip(), setting
    plain = plain.removeprefix("k ").replace("dpmpp", "dpm++").replace("dpm 2", "dpm2")
    if plain.startswith("dpm"):
        plain = plain.replace(" ancestral", " a")
    return plain, levels
