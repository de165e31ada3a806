"""The fields of a generation with one model: names, types, ranges, defaults. The one list behind the playground's form,
the parameter table, the markdown twin and the JSON schema.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from billing.wording import digits
from inference.engine.spec import Family
from inference.models import Adapter, AdapterKind, ImageModel

Kind = Literal["text", "long", "integer", "number", "choice", "flag", "picture"]
SIZE_STEP_PX = 8
SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
OPERATION_NAMES = {
    "text2img": _("Text to image"),
    "img2img": _("Image to image"),
    "inpaint": _("Inpaint"),
    "outpaint": _("Outpaint"),
    "upscale": _("Upscale"),
    "remove_background": _("Remove background"),
    "create_mask": _("Create mask"),
    "check_safety": _("Check for sensitive content"),
}
DRAWING = ("text2img", "img2img", "inpaint", "outpaint")
FROM_PICTURES = tuple(name for name in OPERATION_NAMES if name != "text2img")
# Guidance and the negative prompt mean nothing to a model that was distilled without them.
_WITHOUT_NEGATIVE = frozenset({Family.FLUX.value})


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `advanced` ones stand folded in the form; `unit` follows the value on pages."""

    name: str
    label: str
    kind: Kind
    help: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    advanced: bool = False
    unit: str = ""
    # The operations that take it; empty means all.
    operations: tuple[str, ...] = ()

    @property
    def type_name(self) -> str:
        names = {"long": "string", "text": "string", "choice": "string", "picture": "string", "flag": "boolean"}
        return names.get(self.kind, self.kind)

    @property
    def range_text(self) -> str:
        if self.low is None or self.high is None:
            return ""
        return f"{self.low:g} to {self.high:g}"

    @property
    def range_said(self) -> str:
        """The same for people, in their language."""
        if self.low is None or self.high is None:
            return ""
        return gettext("%(low)s to %(high)s") % {"low": digits(f"{self.low:g}"), "high": digits(f"{self.high:g}")}

    @property
    def default_text(self) -> str:
        """As a call in JSON says it."""
        if self.default is None:
            return ""
        return str(self.default).lower() if self.kind == "flag" else str(self.default)

    @property
    def meaning(self) -> str:
        """The help, and for which operations it is, where not for all: in English, for what machines read."""
        names = ", ".join(OPERATION_NAMES[name].lower() for name in self.operations)
        return f"{self.help} For {names}." if names else self.help

    @property
    def meaning_said(self) -> str:
        """The same for people, in their language."""
        names = ", ".join(gettext(OPERATION_NAMES[name]) for name in self.operations)
        said = gettext(self.help)
        return f"{said} {gettext('For: %(operations)s.') % {'operations': names}}" if names else said

    def json_schema(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.type_name, "title": self.label, "description": self.meaning}
        optional = {"default": self.default, "minimum": self.low, "maximum": self.high}
        found |= {name: value for name, value in optional.items() if value is not None}
        return found | ({"enum": list(self.choices)} if self.choices else {})


def fields_of(model: ImageModel) -> list[Field]:
    """All fields of a call with this model, whatever it can do: words and pictures first."""
    able = set(model.operations)
    drawing = tuple(name for name in DRAWING if name in able)
    found = [
        *_pictures(able),
        *(replace(field, operations=drawing) for field in [*_words(model), *_size(model)] if drawing),
        *(replace(field, operations=drawing) for field in [*_sampling(model), *_adapters(model)] if drawing),
        *_delivery(),
    ]
    found.sort(key=lambda field: field.kind != "long")
    # Where every operation takes a field, saying so says nothing.
    return [replace(field, operations=()) if set(field.operations) >= able else field for field in found]


def _pictures(able: set[str]) -> list[Field]:
    """What the operations other than drawing from words need."""
    picture = _("An address, a base64 text, or a data URI.")
    fields = [
        Field("init_image", _("Picture"), "picture", picture, operations=FROM_PICTURES),
        Field(
            "mask_image",
            _("Mask"),
            "picture",
            _("White is redrawn. An address, a base64 text, or a data URI."),
            operations=("inpaint",),
        ),
        Field("strength", _("Strength"), "number", _("How far to depart from the picture."), 0.7, 0, 1, 0.05),
        Field("scale", _("Scale"), "integer", _("The side of the result over the picture's."), 3, 1, 4, 1),
        Field("specific_object", _("Thing"), "text", _("What the mask covers."), operations=("create_mask",)),
    ]
    own = {"strength": ("img2img", "inpaint"), "scale": ("upscale",)}
    fields = [replace(field, operations=own.get(field.name, field.operations)) for field in fields]
    kept = [(field, tuple(name for name in field.operations if name in able)) for field in fields]
    return [replace(field, operations=names) for field, names in kept if names]


def general_fields() -> list[Field]:
    """The fields of a call with any model: ranges as wide as some model's, no model's own defaults."""
    model = ImageModel(side_px_min=64, side_px_max=2048, steps_max=100)
    model_id = Field("model_id", _("Model"), "text", _("Which model draws; the installation's default when left out."))
    lora = Field("lora_model", "LoRA", "text", _("Ids of LoRAs that join the model, separated by commas."))
    strength = Field("lora_strength", _("LoRA strength"), "text", _("One number for each LoRA, separated by commas."))
    previews = Field("previews", _("Previews"), "flag", _("While it is drawn, fetch shows it becoming."), False)
    own = {"width", "height", "num_inference_steps", "guidance_scale"}
    fields = [*_words(model), *_size(model), *_sampling(model), lora, strength, *_delivery(), previews]
    return [model_id, *(replace(field, default=None) if field.name in own else field for field in fields)]


def _words(model: ImageModel) -> list[Field]:
    prompt = Field("prompt", _("Prompt"), "long", _("What the picture shows."), required=True)
    if model.family in _WITHOUT_NEGATIVE:
        return [prompt]
    return [
        prompt,
        Field("negative_prompt", _("Negative prompt"), "text", _("What it should not show."), advanced=True),
    ]


def _size(model: ImageModel) -> list[Field]:
    low, high = model.side_px_min, model.side_px_max
    note = _("Rounded down to a multiple of 8.")
    return [
        Field("width", _("Width"), "integer", note, model.width_px_default, low, high, SIZE_STEP_PX, unit="px"),
        Field("height", _("Height"), "integer", note, model.height_px_default, low, high, SIZE_STEP_PX, unit="px"),
        Field(
            "samples", _("Images"), "integer", _("Each is charged when it is delivered."), 1, 1, model.samples_max, 1
        ),
    ]


def _sampling(model: ImageModel) -> list[Field]:
    return [
        Field(
            "num_inference_steps",
            _("Steps"),
            "integer",
            _("More steps take longer and cost the same."),
            model.steps_default,
            1,
            model.steps_max,
            1,
            advanced=True,
        ),
        Field(
            "guidance_scale",
            _("Guidance"),
            "number",
            _("How closely the picture follows the prompt."),
            model.guidance_scale_default,
            1,
            20,
            0.5,
            advanced=True,
        ),
        Field("seed", _("Seed"), "integer", _("The same seed gives the same picture; empty draws one."), advanced=True),
        Field(
            "scheduler",
            _("Scheduler"),
            "choice",
            _("Empty is the model's own."),
            model.scheduler_default or None,
            choices=SCHEDULERS,
            advanced=True,
        ),
        Field(
            "deterministic",
            _("Deterministic"),
            "flag",
            _("Shares no step with other calls: the same call gives the same bytes. Slower when others draw too."),
            False,
            advanced=True,
        ),
    ]


def _adapters(model: ImageModel) -> list[Field]:
    loras = Adapter.objects.filter(kind=AdapterKind.LORA, family=model.family, published=True).order_by("adapter_id")
    names = tuple(loras.values_list("adapter_id", flat=True)[:200])
    if not names:
        return []
    return [
        Field("lora_model", "LoRA", "choice", _("Styles or subjects that join it; several by commas."), choices=names),
        Field("lora_strength", _("LoRA strength"), "number", _("How strongly; several by commas."), 1, 0.1, 1, 0.05),
    ]


def _delivery() -> list[Field]:
    return [
        Field("safety_checker", _("Safety checker"), "flag", _("Flagged pictures are replaced."), False, advanced=True),
        Field("base64", _("As base64"), "flag", _("The reply holds the picture itself."), False, advanced=True),
        Field("webhook", _("Webhook"), "text", _("An address that is told the outcome, signed."), advanced=True),
        Field("track_id", _("Track id"), "text", _("Your own id; it comes back in the webhook."), advanced=True),
    ]


def json_schema(model: ImageModel) -> dict[str, Any]:
    """The same list as a JSON schema (draft 2020-12)."""
    fields = fields_of(model)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": model.name,
        "type": "object",
        "required": ["model_id", *(field.name for field in fields if field.required)],
        "properties": {"model_id": {"const": model.model_id}, **{field.name: field.json_schema() for field in fields}},
    }
