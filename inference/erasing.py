"""Deleting what a generation shows of a person: words, pictures, addresses. What is counted and paid stays.

Files go first and the row afterwards, so that a process that dies between the two leaves a row that is tried again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from inference.models import UNSETTLED, Generation, RenderFault
from inference.storage import get_storage
from inference.storage.keys import INPUTS

ERASED_NOTE = "The prompt and the pictures of this call were deleted."
EMPTY: dict[str, Any] = {
    "prompt": "",
    "negative_prompt": "",
    "init_images": [],
    "mask_image": None,
    "controls": [],
    "ip_adapter": None,
    "mask_subject": "",
    "output_keys": [],
}


def generation_erase(generation: Generation, *, now: datetime) -> bool:
    """Delete words and files of one settled call; False when it is under way or was erased before."""
    if not generation.settled or generation.erased_at is not None:
        return False
    files_delete(generation)
    # An exception's message may quote what was asked.
    RenderFault.objects.filter(generation_id=generation.pk).update(message="", trace="")
    generation.spec = {**generation.spec, **EMPTY}
    generation.asked = {}
    generation.result = {"images": [], "notes": [ERASED_NOTE]} if generation.result else None
    generation.webhook_url, generation.track_id, generation.erased_at = "", None, now
    generation.save(update_fields=["spec", "asked", "result", "webhook_url", "track_id", "erased_at"])
    return True


def files_delete(generation: Generation) -> None:
    """Its pictures with their base64 twins, and what it was given, unless a call under way still needs that."""
    storage = get_storage()
    if preview := generation.spec.get("preview_key"):
        storage.delete(preview)
    outputs = {*generation.spec.get("output_keys", []), *(image["key"] for image in generation.images)}
    for key in outputs:
        storage.delete(key)
        storage.delete(key.rpartition(".")[0] + ".txt")
    given = set(_inputs(generation.spec))
    if given:
        for spec in Generation.objects.filter(state__in=UNSETTLED).values_list("spec", flat=True):
            given -= set(_inputs(spec))
    for key in given:
        storage.delete(key)


def _inputs(value: Any) -> Iterator[str]:
    """Every key of an input file, wherever in the spec it stands."""
    if isinstance(value, str):
        if value.startswith(f"{INPUTS}/"):
            yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _inputs(part)
