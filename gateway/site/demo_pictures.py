"""The pictures on the product page: real ones, made by the demo model, kept as static files with their facts."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.templatetags.static import static

FOLDER = "img/demo"


@dataclass(frozen=True, slots=True)
class DemoPicture:
    """One picture with the call that made it."""

    url: str
    prompt: str
    seed: int
    steps: int
    width_px: int
    height_px: int
    run_ms: int


@functools.cache
def pictures() -> tuple[DemoPicture, ...]:
    """In the order of the contact sheet; empty where tools/demo_pictures.py has not been run."""
    listing = Path(settings.BASE_DIR) / "static" / FOLDER / "pictures.json"
    if not listing.exists():
        return ()
    facts = json.loads(listing.read_text())
    return tuple(DemoPicture(url=static(f"{FOLDER}/{fact.pop('file')}"), **fact) for fact in facts)
