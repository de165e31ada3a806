"""The playground's form: which operations a model offers and where each is called, the controls with their values, and
a sent form as the fields of a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext

from gateway.api import profiles
from gateway.api.profiles import Profile
from gateway.http.images import MAX_BYTES
from gateway.site.schema import DRAWING, OPERATION_NAMES, SIZE_STEP_PX, Field, fields_of
from inference.models import ImageModel

LORA_ROWS = 3
FIRST_PROMPT = "a red circle on a blue background"
# Operation -> the route of the API that the form stands for, below /api/.
ROUTES: dict[str, tuple[str, Profile]] = {
    "text2img": ("v7/images/text-to-image", profiles.TEXT_TO_IMAGE),
    "img2img": ("v7/images/image-to-image", profiles.IMAGE_TO_IMAGE),
    "inpaint": ("v7/images/inpaint", profiles.INPAINT),
    "outpaint": ("v6/image_editing/outpaint", profiles.OUTPAINT),
    "upscale": ("v7/images/upscale", profiles.UPSCALE),
    "remove_background": ("v6/image_editing/removebg_mask", profiles.REMOVE_BACKGROUND),
    "create_mask": ("v6/image_editing/mask_creator", profiles.CREATE_MASK),
    "check_safety": ("v3/nsfw_image_check", profiles.CHECK_SAFETY),
}
RATIOS = ((1, 1), (3, 2), (2, 3), (16, 9), (9, 16))
_OF_THE_FORM = frozenset({"csrfmiddlewaretoken", "operation", "lora_model", "lora_strength", "job"})


@dataclass(frozen=True, slots=True)
class Choice:
    """One operation of the model."""

    key: str
    name: str
    path: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Control:
    """One field of the form with what stands in it."""

    field: Field
    value: str

    @property
    def checked(self) -> bool:
        return self.value.lower() in ("yes", "true", "1", "on")

    @property
    def only_for(self) -> str:
        return " ".join(self.field.operations)


@dataclass(frozen=True, slots=True)
class Form:
    """Everything that templates/models/playground.html draws."""

    choices: list[Choice]
    main: list[Control]
    pictures: list[Control]
    advanced: list[Control]
    lora_names: tuple[str, ...]
    loras: list[tuple[str, str]]
    presets: list[tuple[int, int]]


def form_of(model: ImageModel, values: Mapping[str, str]) -> Form:
    """`values` are texts by the API's names; what they leave out is the model's default."""
    fields = {field.name: field for field in fields_of(model)}
    loras, _ = fields.pop("lora_model", None), fields.pop("lora_strength", None)
    controls = [Control(field, values.get(field.name) or _empty(field)) for field in fields.values()]
    return Form(
        choices=choices_of(model, values.get("operation", "")),
        main=[control for control in controls if not control.field.advanced and control.field.kind != "picture"],
        pictures=[control for control in controls if control.field.kind == "picture"],
        advanced=[control for control in controls if control.field.advanced],
        lora_names=loras.choices if loras else (),
        loras=_lora_rows(values),
        presets=presets_of(model),
    )


def _empty(field: Field) -> str:
    return FIRST_PROMPT if field.name == "prompt" else "" if field.kind == "choice" else field.default_text


def _lora_rows(values: Mapping[str, str]) -> list[tuple[str, str]]:
    names, strengths = (str(values.get(name) or "").split(",") for name in ("lora_model", "lora_strength"))
    pairs = zip_longest(names, strengths[: len(names)], fillvalue="1")
    rows = [(name.strip(), strength.strip() or "1") for name, strength in pairs][:LORA_ROWS]
    return rows + [("", "1")] * (LORA_ROWS - len(rows))


def choices_of(model: ImageModel, asked: str) -> list[Choice]:
    able = [name for name in ROUTES if name in model.operations]
    chosen = asked if asked in able else next(iter(able), "")
    return [Choice(name, gettext(OPERATION_NAMES[name]), f"/api/{ROUTES[name][0]}", name == chosen) for name in able]


def presets_of(model: ImageModel) -> list[tuple[int, int]]:
    """Sizes of about the model's own area in the usual shapes, within its limits."""
    area = model.width_px_default * model.height_px_default
    sizes = [(model.width_px_default, model.height_px_default)]
    for wide, high in RATIOS:
        width = (area * wide / high) ** 0.5
        sides = [int(side + SIZE_STEP_PX / 2) // SIZE_STEP_PX * SIZE_STEP_PX for side in (width, width * high / wide)]
        if all(model.side_px_min <= side <= model.side_px_max for side in sides):
            sizes.append((sides[0], sides[1]))
    return list(dict.fromkeys(sizes)) if set(model.operations) & set(DRAWING) else []


def values_asked(asked: Mapping[str, Any], *, operation: str) -> dict[str, str]:
    """A finished call's fields as texts, to fill the form again."""
    texts = {str(name): _text(value) for name, value in asked.items() if isinstance(value, str | int | float)}
    return texts | {"operation": operation}


def _text(value: str | int | float) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def call_fields(post: QueryDict, files: MultiValueDict[str, Any]) -> dict[str, Any]:
    """The sent form as a call's fields: rows of LoRAs become comma lists, files bytes; empty ones are left out."""
    fields: dict[str, Any] = {name: value for name, value in post.items() if name not in _OF_THE_FORM and value != ""}
    rows = zip(post.getlist("lora_model"), post.getlist("lora_strength"), strict=False)
    if chosen := [(name, strength) for name, strength in rows if name]:
        fields["lora_model"] = ",".join(name for name, _ in chosen)
        fields["lora_strength"] = ",".join(strength or "1" for _, strength in chosen)
    for name in ("init_image", "mask_image"):
        if file := files.get(f"{name}_file"):
            # One byte too many is enough to be refused for its size, in the API's own words.
            fields[name] = file.read(MAX_BYTES + 1)
    return fields


def operation_of(request: HttpRequest, model: ImageModel) -> str:
    """The operation asked for, else the model's first."""
    return next((choice.key for choice in choices_of(model, request.POST.get("operation", "")) if choice.chosen), "")
