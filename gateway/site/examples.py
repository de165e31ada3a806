"""A model's examples: pictures with the very call that made them, each a link that fills the playground with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.utils.translation import gettext, gettext_noop

from gateway.site.demo_pictures import pictures
from inference.models import ImageModel
from inference.storage import KeyRefused, get_storage

EXAMPLES_MAX = 12
DEMO_SOURCE = "embedded:demo"
# Field -> how it is said beside the picture.
_FACTS = {
    "seed": gettext_noop("seed %(seed)s"),
    "num_inference_steps": gettext_noop("%(num_inference_steps)s steps"),
    "guidance_scale": gettext_noop("guidance %(guidance_scale)s"),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One picture; `call` are fields of the API."""

    url: str
    call: dict[str, Any]
    # How the catalogue names the picture; empty where it is no entry of the catalogue.
    name: str = ""
    # What the page keeps free for it; 0 where the call leaves the size to the model.
    width_px: int = 0
    height_px: int = 0

    @property
    def prompt(self) -> str:
        return str(self.call.get("prompt", ""))

    @property
    def facts(self) -> str:
        told = [gettext(words) % {name: self.call[name]} for name, words in _FACTS.items() if name in self.call]
        if "width" in self.call and "height" in self.call:
            told.append(f"{self.call['width']} × {self.call['height']}")
        return " · ".join(told)

    @property
    def query(self) -> str:
        return urlencode({name: value for name, value in self.call.items() if isinstance(value, str | int | float)})


def examples_of(model: ImageModel) -> list[Example]:
    """The operator's own; the embedded model shows the pictures of the product page. Unusable entries are left out."""
    found = examples_listed(model)
    if not found and model.source == DEMO_SOURCE:
        found = [
            Example(
                p.url,
                {"prompt": p.prompt, "seed": p.seed, "num_inference_steps": p.steps},
                width_px=p.width_px,
                height_px=p.height_px,
            )
            for p in pictures()
        ]
    return found


def examples_listed(model: ImageModel) -> list[Example]:
    """The entries of the catalogue alone."""
    return [example for entry in model.examples[:EXAMPLES_MAX] if (example := _example(entry))]


def _example(entry: Any) -> Example | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("call"), dict):
        return None
    name = str(entry.get("picture") or "")
    try:
        url = name if name.startswith("/") else get_storage().url(name)
    except KeyRefused:
        return None
    call = entry["call"]
    return Example(url, call, name, width_px=_pixels(call.get("width")), height_px=_pixels(call.get("height")))


def _pixels(asked: Any) -> int:
    return int(asked) if str(asked).isdecimal() else 0
