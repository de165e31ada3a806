"""From a family's name to the object that knows it."""

from __future__ import annotations

from inference.engine.errors import RenderFailed
from inference.engine.families.base import Family
from inference.engine.families.flux import Flux
from inference.engine.families.sd3 import StableDiffusion3
from inference.engine.families.sd15 import StableDiffusion
from inference.engine.families.sdxl import StableDiffusionXL
from inference.engine.spec import Family as FamilyName

FAMILIES: dict[FamilyName, Family] = {
    FamilyName.SD15: StableDiffusion(),
    FamilyName.SDXL: StableDiffusionXL(),
    FamilyName.SD3: StableDiffusion3(),
    FamilyName.FLUX: Flux(),
}


def family_of(name: FamilyName) -> Family:
    if name not in FAMILIES:
        raise RenderFailed(code="unsupported_family", message=f"{name} is not a family of drawing models.")
    return FAMILIES[name]
