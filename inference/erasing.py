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
PICTURES_NOTE = "The pictures of this call were deleted."
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
# What words_erase empties.
WORDS = ("spec", "asked", "result", "webhook_url", "track_id")


def generation_erase(generation: Generation, *, now: datetime) -> bool:
    """Delete words and files of one settled call; False when it is under way or was erased before."""
    if not generation.settled or generation.erased_at is not None:
        return False
    files_delete(generation.spec, generation.result)
    words_erase(generation, now=now)
    return True


def pictures_erase(generation: Generation) -> None:
    """Delete the pictures of a call; what was asked stays. A settled call says from then on that they are deleted."""
    for key in output_files(generation.spec, generation.result):
        get_storage().delete(key)
    if generation.settled and generation.result and generation.images:
        notes = [*generation.result.get("notes", []), PICTURES_NOTE]
        generation.result = {**generation.result, "images": [], "notes": notes}
        generation.save(update_fields=["result"])


def words_erase(generation: Generation, *, now: datetime) -> None:
    """Empty the row of everything but what is counted and paid; its files are the caller's business."""
    # An exception's message may quote what was asked.
    RenderFault.objects.filter(generation_id=generation.pk).update(message="", trace="")
    generation.spec = {**generation.spec, **EMPTY}
    generation.asked = {}
    generation.result = {"images": [], "notes": [ERASED_NOTE]} if generation.result else None
    generation.webhook_url, generation.track_id, generation.erased_at = "", None, now
    generation.save(update_fields=[*WORDS, "erased_at"])


def output_files(spec: dict[str, Any], result: dict[str, Any] | None) -> list[str]:
    """The keys of its pictures, promised and delivered, each with that of its base64 twin."""
    images = result["images"] if result else []
    keys = dict.fromkeys([*spec.get("output_keys", []), *(image["key"] for image in images)])
    return [file for key in keys for file in (key, key.rpartition(".")[0] + ".txt")]


def files_delete(spec: dict[str, Any], result: dict[str, Any] | None) -> None:
    """A call's pictures with their base64 twins, and what it was given, unless a call under way still needs that."""
    storage = get_storage()
    if preview := spec.get("preview_key"):
        storage.delete(preview)
    for key in output_files(spec, result):
        storage.delete(key)
    given = set(_inputs(spec))
    if given:
        for other in Generation.objects.filter(state__in=UNSETTLED).values_list("spec", flat=True):
            given -= set(_inputs(other))
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
