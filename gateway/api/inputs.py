"""Pictures that come with a request: from an address, as base64, as a file. Checked, made plain PNG, stored by digest.

It runs before admission, with no database connection held, and never keeps the sender's bytes as they came: only
pixels survive. Every address goes through the guarded client; those of our own pictures are read from storage.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext_noop as _
from PIL import Image

from gateway.api.fields import Fields
from gateway.errors import AddressRefused, FetchFailed, ImageInvalid
from gateway.http import http_fetch, image_open
from gateway.http.images import MAX_BYTES, MAX_PIXELS
from inference.storage import FileMissing, KeyRefused, expiry_epoch_s, get_storage, input_key, is_served, key_checked

INPUT_SIDE_PX_MIN = 8
# What drawing can use of a picture; a larger one would only be resized in the render worker.
DRAWN_SIDE_PX_MAX = 2048
# All pictures of one call together: a client that waits 30 s still learns what was wrong.
FETCH_TIMEOUT_S = 20.0
MEDIA_PATH = "/media/"
_DATA_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*,", re.IGNORECASE)
_DATA_URI_CHARS_MAX = 200
_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """A picture as the request names it: `value` is an address, base64 text, or a file's bytes."""

    field: str
    value: str | bytes


@dataclass(frozen=True, slots=True)
class StoredInput:
    key: str
    width_px: int
    height_px: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width_px, self.height_px


class Unusable(ValueError):
    """Why this is no picture for us, as the end of a sentence that begins with the field's name."""


def sources_read(fields: Fields, names: tuple[str, ...], *, most: int, required: bool) -> list[Source]:
    """The pictures under the first of `names` that is there. A list is several pictures; text is never split."""
    value = fields.value(*names)
    items = [item for item in (value if isinstance(value, list) else [value]) if item is not None]
    if not items:
        if required:
            fields.require(names[0])
        return []
    if len(items) > most:
        fields.fault(
            names[0], "too_many", _("has {} pictures; at most {} are accepted").format(len(items), most), limit=most
        )
        return []
    if not all(isinstance(item, str | bytes) for item in items):
        fields.fault(names[0], "invalid", _("must be an address, base64 or a file"), value)
        return []
    return [Source(names[0], item) for item in items]


def inputs_store(fields: Fields, sources: list[Source], *, base_url: str, side_px_max: int | None) -> list[StoredInput]:
    """Every picture that can be had; the others are faults of their fields. `side_px_max` None keeps the size."""
    stored: list[StoredInput] = []
    deadline_s = time.monotonic() + FETCH_TIMEOUT_S
    for source in sources:
        try:
            data = source_bytes(source.value, base_url=base_url, timeout_s=deadline_s - time.monotonic())
            picture = picture_open(data)
        except Unusable as problem:
            fields.fault(source.field, "unusable_image", str(problem), _shown(source.value))
            continue
        if side_px_max is not None and max(picture.size) > side_px_max:
            picture.thumbnail((side_px_max, side_px_max), Image.Resampling.LANCZOS)
        stored.append(picture_store(picture))
    return stored


def _shown(value: Any) -> str | None:
    return value if is_url(value) else None


def is_url(value: Any) -> bool:
    return isinstance(value, str) and _URL.match(value.lstrip()) is not None


def source_bytes(value: str | bytes, *, base_url: str, timeout_s: float) -> bytes:
    """Raises Unusable."""
    if isinstance(value, bytes):
        data = value
    elif is_url(value):
        data = _fetched(value.strip(), base_url, timeout_s)
    else:
        data = base64_bytes(value)
    if len(data) > MAX_BYTES:
        raise Unusable(_("is larger than the {} bytes that are accepted").format(MAX_BYTES))
    return data


def base64_bytes(text: str) -> bytes:
    """Plain, with a data URI's head, with line breaks, of the URL alphabet, without padding. Raises Unusable."""
    text = text.lstrip()
    head = _DATA_URI.match(text[:_DATA_URI_CHARS_MAX])
    packed = "".join(text[head.end() if head else 0 :].split())
    packed = packed.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unusable(_("is neither an address (https://...) nor base64")) from None


def picture_open(data: bytes) -> Image.Image:
    """The first frame, upright, as RGB, or as RGBA where it is transparent. Raises Unusable."""
    try:
        picture = image_open(data, max_pixels=MAX_PIXELS)
    except ImageInvalid as problem:
        raise Unusable(f"{_('cannot be used')}: {problem.fields['reason']}") from None
    if min(picture.size) < INPUT_SIDE_PX_MIN:
        width_px, height_px = picture.size
        few = _("has {}x{} pixels; at least {} a side are needed")
        raise Unusable(few.format(width_px, height_px, INPUT_SIDE_PX_MIN))
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    return picture.convert("RGBA" if transparent else "RGB")


def picture_png(picture: Image.Image) -> bytes:
    packed = io.BytesIO()
    picture.save(packed, "PNG", compress_level=1)  # time is dearer than the disk: inputs live for days
    return packed.getvalue()


def picture_store(picture: Image.Image) -> StoredInput:
    data = picture_png(picture)
    key = input_key(sha256=hashlib.sha256(data).hexdigest(), extension="png")
    storage = get_storage()
    if not storage.exists(key):
        storage.write(key, data, "image/png")
    return StoredInput(key, *picture.size)


def _fetched(url: str, base_url: str, timeout_s: float) -> bytes:
    own = own_key(url, base_url)
    if own is not None:
        return _own(own)
    if not connection.in_atomic_block:
        connection.close()  # a slow server elsewhere must not keep one of the few connections
    if timeout_s <= 0:
        raise Unusable(f"{_('could not be fetched')}: {_('the pictures of this call took too long together')}")
    try:
        return http_fetch(url, max_bytes=MAX_BYTES, timeout_s=timeout_s, accept="image/*").body
    except (AddressRefused, FetchFailed) as problem:
        raise Unusable(f"{_('could not be fetched')}: {problem.fields['reason']}") from None


def _own(key: str) -> bytes:
    expires_epoch_s = expiry_epoch_s(key)
    if expires_epoch_s is not None and expires_epoch_s <= timezone.now().timestamp():
        raise Unusable(_("is a temporary link that has expired"))
    try:
        return get_storage().read(key)
    except FileMissing:
        raise Unusable(_("is the address of a picture here that is not finished, or no longer there")) from None


def own_key(url: str, base_url: str) -> str | None:
    """The storage key behind one of our own picture addresses: a result is often the next call's input, and our own
    host may be one that the guarded client must refuse."""
    try:
        given = urlsplit(url)
    except ValueError:
        return None
    if given.netloc.lower() != urlsplit(base_url).netloc.lower() or not given.path.startswith(MEDIA_PATH):
        return None
    try:
        key = key_checked(unquote(given.path.removeprefix(MEDIA_PATH)))
    except KeyRefused:
        return None
    return key if is_served(key) else None
