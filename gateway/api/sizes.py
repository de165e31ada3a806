"""Width and height: rounded down, within the model's limits, from an aspect ratio or from the picture sent."""

from __future__ import annotations

import math

from gateway.api.fields import Fields, as_whole
from gateway.api.profiles import Profile
from inference.engine.spec import Family
from inference.selectors import CatalogueModel

ASPECT_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "21:9", "9:21", "5:4", "4:5")
Size = tuple[int, int]


def size_step_px(family: Family) -> int:
    """Latents are an eighth of the picture; the transformers of Flux and SD3 take them in pairs."""
    return 16 if family in (Family.FLUX, Family.SD3) else 8


def size_read(fields: Fields, profile: Profile, model: CatalogueModel) -> tuple[int | None, int | None]:
    """The sides that were asked for, checked; None for a side that was not."""
    width_px, height_px = _side(fields, "width", "W", model), _side(fields, "height", "H", model)
    if width_px is None and height_px is None and fields.value("aspect_ratio") is not None:
        ratio = fields.choice("aspect_ratio", default="1:1", choices=ASPECT_RATIOS)
        across, down = (int(part) for part in ratio.split(":"))
        return shaped((across, down), area_px=model.width_px_default * model.height_px_default, model=model)
    return width_px, height_px


def size_decide(
    asked: tuple[int | None, int | None], profile: Profile, model: CatalogueModel, picture: Size | None
) -> Size:
    """The size to draw at. What was not asked for comes from the profile, the picture or the model."""
    if not profile.draws and picture is not None:
        return picture
    width_px, height_px = asked
    if width_px is not None and height_px is not None:
        return width_px, height_px
    default = _default(profile, model, picture)
    return width_px or default[0], height_px or default[1]


def _default(profile: Profile, model: CatalogueModel, picture: Size | None) -> Size:
    step = size_step_px(model.family)
    if isinstance(profile.size, tuple):
        width_px, height_px = (min(side, model.side_px_max) // step * step for side in profile.size)
        return width_px, height_px
    if picture is None:
        return model.width_px_default, model.height_px_default
    if profile.size == "image":
        return shaped(picture, area_px=picture[0] * picture[1], model=model)
    return shaped(picture, area_px=model.width_px_default * model.height_px_default, model=model)


def shaped(shape: Size, *, area_px: int, model: CatalogueModel) -> Size:
    """A size of about this area in this shape, inside the model's limits."""
    step = size_step_px(model.family)
    across, down = shape
    scale = math.sqrt(area_px / (across * down))
    scale = min(scale, model.side_px_max / max(across, down))
    scale = max(scale, model.side_px_min / min(across, down))
    low, high = -(-model.side_px_min // step) * step, model.side_px_max // step * step
    width_px, height_px = (min(max(int(side * scale + 1e-6) // step * step, low), high) for side in shape)
    return width_px, height_px


def _side(fields: Fields, name: str, short: str, model: CatalogueModel) -> int | None:
    value = fields.value(name, short)
    if value is None:
        return None
    asked = as_whole(value)
    if asked is None:
        fields.fault(name, "invalid", "must be a whole number of pixels", value)
        return None
    step = size_step_px(model.family)
    side = asked // step * step
    if side > model.side_px_max:
        message = f"is {asked}; the model {model.model_id} draws at most {model.side_px_max} pixels a side"
        fields.fault(name, "too_large", message, asked, limit=model.side_px_max)
    elif side < model.side_px_min:
        message = f"is {asked}; the model {model.model_id} draws at least {model.side_px_min} pixels a side"
        fields.fault(name, "too_small", message, asked, limit=model.side_px_min)
    elif side != asked:
        fields.adjust(name, asked, side, f"{name} is rounded down to a multiple of {step}")
    return side
