"""Generations as pages show them: state in words, pictures with addresses, the price as it came about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from accounts.errors import phrase_said
from gateway.templatetags.units import size
from inference.engine.parameters import parameters_text, settings_used
from inference.engine.spec import RenderSpec
from inference.models import Generation, GenerationState
from inference.storage import expiry_epoch_s, get_storage

TONES = {
    GenerationState.SUCCEEDED: "ok",
    GenerationState.FAILED: "bad",
    GenerationState.CANCELLED: "",
    GenerationState.RUNNING: "busy",
    GenerationState.WAITING: "info",
}


WORDS = {
    GenerationState.SUCCEEDED: _("Succeeded"),
    GenerationState.FAILED: _("Failed"),
    GenerationState.CANCELLED: _("Cancelled"),
    GenerationState.RUNNING: _("Running"),
    GenerationState.WAITING: _("Waiting"),
}
PAID_BY = {
    "free_day": _("Free call"),
    "allowance": _("Plan's calls"),
    "unlimited": _("Plan, unlimited"),
    "funds": _("Funds"),
    "postpaid": _("Invoiced"),
}
# What the engine says most when a picture fails; the engine itself knows no languages. Rarer words stay as they are.
FAILURES = (
    gettext_noop("The device's memory does not suffice for this picture. Ask for a smaller one."),
    gettext_noop("The job was not done within {} s."),
    gettext_noop("The model produced values that are no numbers."),
    gettext_noop("The render worker restarts."),
    gettext_noop("The safety checker is not installed, and this worker delivers no picture unchecked."),
    gettext_noop("mask_image: it has no white part, so nothing would be painted."),
)
# And what it notes of pictures that it did draw.
NOTES = (
    gettext_noop("deterministic: every picture was drawn in forwards of its own."),
    gettext_noop("The size was rounded down to a multiple of {} px."),
    gettext_noop("{} x {} px is far below the {} x {} px that this model was made for: expect odd pictures."),
    gettext_noop("{} x {} px is far above the {} x {} px that this model was made for: expect odd pictures."),
    gettext_noop("Only the first {} tokens of the prompt were read."),
    gettext_noop("Only the first picture of init_image was used."),
    gettext_noop("negative_prompt had no effect: guidance_scale is not above {}."),
    gettext_noop("The picture was not checked: no safety checker is installed."),
    gettext_noop("The picture was enlarged by resampling: no upscaler is installed."),
)
# What the engine says a picture was drawn with, by the names that its file keeps; pages look them up.
SETTINGS = (
    gettext_noop("Steps"),
    gettext_noop("Sampler"),
    gettext_noop("Schedule type"),
    gettext_noop("CFG scale"),
    gettext_noop("Seed"),
    gettext_noop("Size"),
    gettext_noop("Model"),
    gettext_noop("Denoising strength"),
    gettext_noop("Embeddings"),
    gettext_noop("Postprocess upscale by"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One delivered picture."""

    url: str
    key: str
    index: int
    seed: int
    width_px: int
    height_px: int
    size_bytes: int
    flagged: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A generation beside what a page asks of it."""

    generation: Generation
    # How long the account keeps prompts and pictures, where the page says it.
    kept_for: timedelta = timedelta(0)

    @property
    def id(self) -> int:
        return self.generation.pk

    @property
    def url(self) -> str:
        return reverse("dashboard:request", kwargs={"generation_id": self.generation.pk})

    @property
    def tone(self) -> str:
        return TONES[GenerationState(self.generation.state)]

    @property
    def word(self) -> Any:
        return WORDS[GenerationState(self.generation.state)]

    @property
    def problem(self) -> str:
        """Why it did not deliver, in the reader's language; empty when it did."""
        return phrase_said(self.generation.error_message) if self.generation.error_message else ""

    @property
    def problem_tone(self) -> str:
        """What somebody stopped did not go wrong."""
        return "info" if self.generation.state == GenerationState.CANCELLED else "bad"

    @property
    def prompt(self) -> str:
        return str(self.generation.asked.get("prompt") or "")

    @property
    def pictures(self) -> list[Picture]:
        return [_picture(image) for image in self.generation.images]

    @property
    def cover(self) -> Picture | None:
        images = self.generation.images
        return _picture(images[0]) if images else None

    @property
    def settings(self) -> dict[str, str]:
        """What its pictures were really drawn with, the first one's seed among it; empty for what was not drawn."""
        found = settings_used(self._spec, self._used, seed=self._seed)
        if side := found.get("Size"):
            found["Size"] = size(*map(int, side.split("x")))
        return found

    @property
    def parameters(self) -> str:
        """The text in the first picture's file; empty where there is none."""
        return parameters_text(self._spec, self._used, seed=self._seed)

    @property
    def _spec(self) -> RenderSpec:
        return RenderSpec.from_dict(self.generation.spec)

    @property
    def _used(self) -> dict[str, Any]:
        return (self.generation.result or {}).get("used") or {}

    @property
    def _seed(self) -> int:
        return int(next((image["seed"] for image in self.generation.images), self.generation.spec["seed"]))

    @property
    def wait_ms(self) -> float | None:
        return _span_ms(self.generation.created_at, self.generation.started_at)

    @property
    def run_ms(self) -> float | None:
        return _span_ms(self.generation.started_at, self.generation.finished_at)

    @property
    def total_ms(self) -> float | None:
        return _span_ms(self.generation.created_at, self.generation.finished_at)

    @property
    def list_microusd(self) -> int:
        """What the delivered pictures cost at the frozen price, whoever pays for them."""
        return self.generation.images_delivered * self.generation.unit_price_microusd

    @property
    def paid_by(self) -> Any:
        return PAID_BY.get(self.generation.funding, self.generation.funding)

    @property
    def expires_at(self) -> datetime:
        return self.generation.created_at + self.kept_for


def _picture(image: dict[str, Any]) -> Picture:
    return Picture(
        url=get_storage().url(image["key"]),
        key=image["key"],
        index=image["index"],
        seed=image["seed"],
        width_px=image["width_px"],
        height_px=image["height_px"],
        size_bytes=image["bytes"],
        flagged=image.get("flagged", False),
    )


def is_temporary(picture: Picture) -> bool:
    return expiry_epoch_s(picture.key) is not None


def _span_ms(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds() * 1000
