"""Names of stored files. Pure: a key says what a file is, whether it may be served, and when it dies.

A key is relative, made of plain segments, and never leaves its store: no dots in front, no "..", no separators but "/".
"""

from __future__ import annotations

import re

OUTPUTS, INPUTS, TEMPORARY, DELETED = "generations", "inputs", "temp", "deleted"
# Pictures that clients were promised an address for. Never served: inputs, which are somebody's own photographs, and
# what was deleted and can still be brought back.
SERVED = (OUTPUTS, TEMPORARY)
KEY_LENGTH_MAX = 200
PREVIEW_ENDING = "preview.jpg"

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{1,3}}")
_TEMPORARY = re.compile(rf"{TEMPORARY}/(?P<expires>[0-9]{{10}})-{_SEGMENT}")

CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
}


class KeyRefused(ValueError):
    """This is not the name of a stored file."""


class FileMissing(LookupError):
    """No file stands under this key (yet, or any more)."""


def key_checked(key: str) -> str:
    """The key itself. Raises KeyRefused when it could name anything but a file inside the store."""
    if len(key) > KEY_LENGTH_MAX or not _KEY.fullmatch(key):
        raise KeyRefused(f"not a storage key: {key[:KEY_LENGTH_MAX]!r}")
    return key


def output_key(*, token: str, index: int, extension: str = "png", expires_epoch_s: int | None = None) -> str:
    """Where picture `index` of a generation will stand. With an expiry its address dies then: the key carries it."""
    name = f"{token}-{index}.{extension}"
    if expires_epoch_s is None:
        return key_checked(f"{OUTPUTS}/{name}")
    return key_checked(f"{TEMPORARY}/{expires_epoch_s:010d}-{name}")


def preview_key(*, token: str, expires_epoch_s: int) -> str:
    """Where a generation shows what is becoming: deleted when it is done, or swept when its writer died."""
    return output_key(token=token, index=0, extension=PREVIEW_ENDING, expires_epoch_s=expires_epoch_s)


def is_preview(key: str) -> bool:
    """Its file is written again and again, so nobody may keep a copy."""
    return key.endswith(f".{PREVIEW_ENDING}")


def input_key(*, sha256: str, extension: str) -> str:
    """Equal inputs share one file."""
    return key_checked(f"{INPUTS}/{sha256}.{extension}")


def deleted_key(key: str, *, secret: str) -> str:
    """Where a deleted picture waits. Its former address does not tell this one: a bucket may be public."""
    return key_checked(f"{DELETED}/{secret}-{key.rpartition('/')[2]}")


def expiry_epoch_s(key: str) -> int | None:
    """When a temporary file dies; None for files that stay. A temporary key without a time is dead already."""
    if not key.startswith(f"{TEMPORARY}/"):
        return None
    found = _TEMPORARY.fullmatch(key)
    return int(found["expires"]) if found else 0


def is_served(key: str) -> bool:
    return key.split("/", 1)[0] in SERVED


def content_type_of(key: str) -> str | None:
    """By the key's ending; None for what a browser should not open."""
    return CONTENT_TYPES.get(key.rpartition(".")[2].lower())
