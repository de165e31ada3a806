"""What a job really used, and what had no effect: collected while it runs, told with its result."""

from __future__ import annotations

from typing import Any

# How "not used" is written for a field of the RenderSpec.
NOTHING: dict[str, Any] = {
    "negative_prompt": "",
    "clip_skip": 0,
    "guidance_scale": 0.0,
    "strength": 1.0,
    "vae": None,
    "ip_adapter": None,
    "embeddings": (),
    "tomesd": False,
    "enhance_prompt": False,
    "panorama": False,
    "self_attention": False,
    "highres_fix": False,
}


class Report:
    """`used` overrides fields of the RenderSpec; `notes` are sentences for people."""

    def __init__(self) -> None:
        self.used: dict[str, Any] = {}
        self.notes: list[str] = []

    def change(self, field: str, value: Any, note: str = "") -> None:
        self.used[field] = value
        self.note(note)

    def drop(self, field: str, why: str) -> None:
        """The field had no effect."""
        self.change(field, NOTHING[field], f"{field} had no effect: {why}.")

    def note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)
