"""The models that a new installation starts with: the embedded demo model. The operator adds the others."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_noop as _

from inference import demo
from inference.engine.spec import Family, Operation
from inference.models import ImageModel

GENERATION_OPERATIONS = [Operation.TEXT_TO_IMAGE.value, Operation.IMAGE_TO_IMAGE.value, Operation.INPAINT.value]


TRAINED = _(
    "A small model trained by this project on pictures that it draws itself: one or two coloured shapes on a coloured"
    " background, in three sizes and five places. It shows how the service works, on any machine."
)
RANDOM = _(
    "A small model with random weights: it answers every prompt with a pattern. It shows how the service works, on any"
    " machine, until a trained model takes its place."
)
# What this row said before. An operator who wrote something else keeps it.
FORMER = (
    "A small model trained by this project on pictures that it draws itself: one coloured shape on a coloured"
    " background, of three sizes, in five places. It shows how the service works, on any machine.",
    "A small model trained by this project on pictures that it draws itself: coloured shapes and simple scenes. It"
    " shows how the service works, on any machine.",
)


def demo_is_trained() -> bool:
    """What the shipped model's card says of itself in its title."""
    card = (demo.MODEL_DIR / "README.md").read_text()
    return "random" not in card.partition("\n")[0].lower()


def demo_model() -> dict[str, Any]:
    """The shipped model's row, with the model's own numbers: other sizes than its own come out odd."""
    return {
        "model_id": "demo",
        "provider": "local",
        "name": "Demo",
        "description": TRAINED if demo_is_trained() else RANDOM,
        "family": Family.SD15.value,
        "operations": [*GENERATION_OPERATIONS, Operation.OUTPAINT.value],
        "source": "embedded:demo",
        "price_code": "sd15",
        "licence": "MIT",
        "width_px_default": demo.DEFAULTS["width_px"],
        "height_px_default": demo.DEFAULTS["height_px"],
        "steps_default": demo.DEFAULTS["steps"],
        "guidance_scale_default": demo.DEFAULTS["guidance_scale"],
        "scheduler_default": demo.DEFAULTS["scheduler"],
    }


def catalogue_seed() -> int:
    """Write what is missing; how many rows were written. Rows that exist are the operator's and stay as they are, but
    for a description of ours, which follows the model that is shipped."""
    row = demo_model()
    ours = {TRAINED, RANDOM, *FORMER} - {row["description"]}
    _model, created = ImageModel.objects.get_or_create(model_id=row["model_id"], defaults=row)
    described = ImageModel.objects.filter(model_id=row["model_id"], source=row["source"], description__in=ours)
    return int(created) + described.update(description=row["description"])
