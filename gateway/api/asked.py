"""The request as the log keeps it: what came, without the key, without pictures, and bounded."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.inputs import is_url
from gateway.api.parsing import Call

PICTURE_FIELDS = frozenset(
    {
        "init_image",
        "init_images",
        "init_image_2",
        "image",
        "images",
        "url",
        "mask_image",
        "mask",
        "control_image",
        "ip_adapter_image",
        "face_image",
        "cloth_image",
        "target_image",
        "base64_string",
    }
)
PICTURE = "[picture]"
TEXT_CHARS_MAX = 10_000
OTHER_TEXT_CHARS_MAX = 1_000
STRUCTURE_BYTES_MAX = 500
FIELDS_MAX = 120
LONG_TEXTS = frozenset({"prompt", "negative_prompt"})


def asked_of(call: Call) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    key = call.key or ""
    for name, value in call.fields.items():
        if len(kept) >= FIELDS_MAX:
            break
        kept[name[:80]] = _kept(name, value, key)
    return kept


def _kept(name: str, value: Any, key: str) -> Any:
    if name in PICTURE_FIELDS:
        value = _without_pictures(value)
    if isinstance(value, str):
        if key and key in value:
            value = value.replace(key, "[key]")
        limit = TEXT_CHARS_MAX if name in LONG_TEXTS else OTHER_TEXT_CHARS_MAX
        return value if len(value) <= limit else f"{value[:limit]}…"
    if isinstance(value, bytes):
        return PICTURE
    if isinstance(value, list | dict):
        packed = orjson.dumps(value)
        too_much = len(packed) > STRUCTURE_BYTES_MAX or (key and key.encode() in packed)
        return "[structure]" if too_much else value
    return value


def _without_pictures(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_pictures(item) for item in value]
    return PICTURE if isinstance(value, bytes) or (isinstance(value, str) and value and not is_url(value)) else value
