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
# Names of the AUTOMATIC1111 interface, as its users send them; a trailing "karras" is understood for each.
NICKNAMES = {
    "euler": Choice("EulerDiscreteScheduler"),
    "euler a": Choice("EulerAncestralDiscreteScheduler"),
    "euler ancestral": Choice("EulerAncestralDiscreteScheduler"),
    "lms": Choice("LMSDiscreteScheduler"),
    "heun": Choice("HeunDiscreteScheduler"),
    "dpm2": Choice("KDPM2DiscreteScheduler"),
    "dpm2 a": Choice("KDPM2AncestralDiscreteScheduler"),
    "dpm++ 2s a": Choice("DPMSolverSinglestepScheduler"),
    "dpm++ 2m": Choice("DPMSolverMultistepScheduler"),
    "dpm++ 2m sde": Choice("DPMSolverMultistepScheduler", SDE),
    "dpm++ 3m sde": Choice("DPMSolverMultistepScheduler", SDE | {"solver_order": 3}),
    "dpm++ sde": Choice("DPMSolverSDEScheduler"),
    "plms": Choice("PNDMScheduler"),
    "deis": Choice("DEISMultistepScheduler"),
    "unipc": Choice("UniPCMultistepScheduler"),
    "lcm": Choice("LCMScheduler"),
    "tcd": Choice("TCDScheduler"),
    "ddim": Choice("DDIMScheduler"),
    "ddpm": Choice("DDPMScheduler"),
}
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
    short = text.lower().removesuffix(" scheduler")
    plain = short.removesuffix("karras").strip()
    choice = NICKNAMES.get(plain)
    if choice and plain != short:
        return Choice(choice.class_name, choice.settings | {"use_karras_sigmas": True}, choice.note)
    return choice
