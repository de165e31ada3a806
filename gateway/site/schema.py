"""The fields of a generation with one model: names, types, ranges, defaults. The one list behind the playground's form,
the parameter table, the markdown twin and the JSON schema.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

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
    def default_text(self) -> str:
        if self.default is None:
            return ""
        return ("yes" if self.default else "no") if self.kind == "flag" else str(self.default)

    def json_schema(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self.type_name, "title": self.label, "description": self.help}
        optional = {"default": self.default, "minimum": self.low, "maximum": self.high}
        found |= {name: value for name, value in optional.items() if value is not None}
        return found | ({"enum": list(self.choices)} if self.choices else {})


def fields_of(model: ImageModel) -> list[Field]:
    """All fields of a text-to-image call with this model, the required ones first."""
    return [*_words(model), *_size(model), *_sampling(model), *_adapters(model), *_delivery()]


def general_fields() -> list[Field]:
    """The fields of a call with any model: ranges as wide as some model's, no model's own defaults."""
    model = ImageModel(side_px_min=64, side_px_max=2048, steps_max=100)
    model_id = Field("model_id", "Model", "text", "Which model draws; the installation's default when left out.")
    lora = Field("lora_model", "LoRA", "text", "Ids of LoRAs that join the model, separated by commas.")
    strength = Field("lora_strength", "LoRA strength", "text", "One number for each LoRA, separated by commas.")
    own = {"width", "height", "num_inference_steps", "guidance_scale"}
    fields = [*_words(model), *_size(model), *_sampling(model), lora, strength, *_delivery()]
    return [model_id, *(replace(field, default=None) if field.name in own else field for field in fields)]


def _words(model: ImageModel) -> list[Field]:
    prompt = Field("prompt", "Prompt", "long", "What the picture shows.", required=True)
    if model.family in _WITHOUT_NEGATIVE:
        return [prompt]
    return [prompt, Field("negative_prompt", "Negative prompt", "text", "What it should not show.", advanced=True)]


def _size(model: ImageModel) -> list[Field]:
    low, high = model.side_px_min, model.side_px_max
    note = "Rounded down to a multiple of 8."
    return [
        Field("width", "Width", "integer", note, model.width_px_default, low, high, SIZE_STEP_PX, unit="px"),
        Field("height", "Height", "integer", note, model.height_px_default, low, high, SIZE_STEP_PX, unit="px"),
        Field("samples", "Images", "integer", "Each is charged when it is delivered.", 1, 1, model.samples_max, 1),
    ]


def _sampling(model: ImageModel) -> list[Field]:
    return [
        Field(
            "num_inference_steps",
            "Steps",
            "integer",
            "More steps take longer and cost the same.",
            model.steps_default,
            1,
            model.steps_max,
            1,
            advanced=True,
        ),
        Field(
            "guidance_scale",
            "Guidance",
            "number",
            "How closely the picture follows the prompt.",
            model.guidance_scale_default,
            1,
            20,
            0.5,
            advanced=True,
        ),
        Field("seed", "Seed", "integer", "The same seed gives the same picture; empty draws one.", advanced=True),
        Field(
            "scheduler",
            "Scheduler",
            "choice",
            "Empty is the model's own.",
            model.scheduler_default or None,
            choices=SCHEDULERS,
            advanced=True,
        ),
        Field(
            "deterministic",
            "Deterministic",
            "flag",
            "Shares no step with other calls: the same call gives the same bytes. Slower when others draw too.",
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
        Field("lora_model", "LoRA", "choice", "A style or subject that joins the model.", choices=names, advanced=True),
        Field("lora_strength", "LoRA strength", "number", "How strongly it joins.", 1, 0.1, 1, 0.05, advanced=True),
    ]


def _delivery() -> list[Field]:
    return [
        Field("safety_checker", "Safety checker", "flag", "Flagged pictures are replaced.", False, advanced=True),
        Field("base64", "As base64", "flag", "The reply holds the picture itself.", False, advanced=True),
        Field("webhook", "Webhook", "text", "An address that is told the outcome, signed.", advanced=True),
        Field("track_id", "Track id", "text", "Your own id; it comes back in the webhook.", advanced=True),
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
