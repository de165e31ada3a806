"""The catalogue's forms: what a model is, and where a new one comes from."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from gateway.backoffice.forms import ReasonForm
from gateway.models import ImportKind
from inference.engine.spec import Family, Operation
from inference.models import ImageModel

DRAWING = (Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE, Operation.INPAINT)
SQUARE_PX = {Family.SD15: 512}
# Steps and guidance that the families' own papers and cards begin with; everything is edited afterwards.
STEPS_GUIDANCE = {Family.SD15: (25, 7.5), Family.SDXL: (30, 6.0), Family.SD3: (28, 5.0), Family.FLUX: (28, 3.5)}
FIELDS = (
    "name", "description", "provider", "family", "operations", "source", "revision", "variant", "prediction_type",
    "trigger_words", "price_code", "width_px_default", "height_px_default", "side_px_min", "side_px_max",
    "steps_default", "steps_max", "guidance_scale_default", "scheduler_default", "samples_max", "licence", "tags",
    "deprecated_at", "sunset_at", "replaced_by",
)  # fmt: skip


class ModelForm(forms.ModelForm):  # type: ignore[type-arg]
    """One row of the catalogue. Who changes its source changes what is drawn under its name."""

    operations = forms.MultipleChoiceField(
        choices=[(one.value, one.value) for one in Operation], widget=forms.CheckboxSelectMultiple
    )
    tags = forms.CharField(required=False, max_length=400, help_text="Separated by commas.")
    reason = forms.CharField(max_length=200, min_length=3, label="Reason")

    class Meta:
        model = ImageModel
        fields = FIELDS
        widgets = {
            "description": forms.Textarea(attrs={"rows": 3}),
            "deprecated_at": forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
            "sunset_at": forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        }
        labels = {
            "width_px_default": "Width, default, in px",
            "height_px_default": "Height, default, in px",
            "side_px_min": "Shortest side, in px",
            "side_px_max": "Longest side, in px",
            "steps_default": "Steps, default",
            "steps_max": "Steps, at most",
            "guidance_scale_default": "Guidance scale, default",
            "scheduler_default": "Scheduler, default",
            "samples_max": "Images a call, at most",
            "deprecated_at": "Deprecated from",
            "sunset_at": "Kept until",
        }
        help_texts = {
            "deprecated_at": "UTC. From then on pages warn, and the API's replies carry Deprecation, Sunset and Link.",
            "sunset_at": "UTC. Until then it is promised to be here; hide it by hand afterwards.",
        }

    def __init__(self, *args: Any, codes: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["tags"] = ", ".join(self.instance.tags)
        self.fields["replaced_by"].queryset = ImageModel.objects.exclude(pk=self.instance.pk).order_by("model_id")  # type: ignore[attr-defined]
        self.fields["replaced_by"].empty_label = "No model"  # type: ignore[attr-defined]
        self.fields["price_code"] = forms.ChoiceField(choices=[(code, code) for code in codes])

    def clean_tags(self) -> list[str]:
        return [tag for part in self.cleaned_data["tags"].split(",") if (tag := part.strip()[:40])]

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        low, high = data.get("side_px_min"), data.get("side_px_max")
        if low and high and low > high:
            self.add_error("side_px_min", "It is above the largest side.")
        for side in ("width_px_default", "height_px_default"):
            if low and high and data.get(side) and not low <= data[side] <= high:
                self.add_error(side, f"It is not between {low} and {high}.")
        if data.get("sunset_at") and not (data.get("deprecated_at") and data["deprecated_at"] < data["sunset_at"]):
            self.add_error("sunset_at", "It needs a day of deprecation before it.")
        if data.get("steps_default") and data.get("steps_max") and data["steps_default"] > data["steps_max"]:
            self.add_error("steps_default", "It is above the most steps.")
        return data


class ImportForm(ReasonForm):
    """Where a model comes from and how it will be called."""

    kind = forms.ChoiceField(choices=ImportKind.choices, label="From")
    asked = forms.CharField(
        label="Name, id or address",
        max_length=2000,
        help_text="A folder or a .safetensors file inside MODEL_DIR; owner/name, or owner/name/file.safetensors; an"
        " https address of a .safetensors file.",
    )
    revision = forms.CharField(max_length=80, required=False, help_text="Of the hub: a branch, tag or commit.")
    sha256 = forms.RegexField(
        r"^[0-9a-fA-F]{64}$",
        required=False,
        label="SHA-256",
        help_text="Checked where it is given; the hub states its own.",
    )
    model_id = forms.RegexField(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,119}$", label="Model id")
    name = forms.CharField(max_length=120)
    family = forms.ChoiceField(choices=[(one.value, one.value) for one in Family if one in STEPS_GUIDANCE])
    price_code = forms.ChoiceField(label="Price code")
    licence = forms.CharField(max_length=120, required=False)
    field_order = (
        "kind",
        "asked",
        "revision",
        "sha256",
        "model_id",
        "name",
        "family",
        "price_code",
        "licence",
        "reason",
    )

    def __init__(self, *args: object, codes: list[str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["price_code"].choices = [(code, code) for code in codes]  # type: ignore[attr-defined]

    def clean_asked(self) -> str:
        asked: str = self.cleaned_data["asked"].strip()
        if any(ord(character) < 32 for character in asked):
            raise ValidationError("It holds a control character.")
        return asked

    def row(self) -> dict[str, Any]:
        """The columns of the catalogue's row that are known before anything is read."""
        data = self.cleaned_data
        family = Family(data["family"])
        steps, guidance_scale = STEPS_GUIDANCE[family]
        side_px = SQUARE_PX.get(family, 1024)
        return {
            "model_id": data["model_id"],
            "name": data["name"],
            "price_code": data["price_code"],
            "licence": data["licence"],
            "operations": [one.value for one in DRAWING],
            "width_px_default": side_px,
            "height_px_default": side_px,
            "side_px_max": max(side_px, 1024),
            "steps_default": steps,
            "guidance_scale_default": guidance_scale,
        }
