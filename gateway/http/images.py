"""Pictures from outside: opened with a limit on their pixels before a single one is decoded.

Known formats alone; a truncated, broken or bomb-like file is refused with the reason.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.utils.translation import gettext_noop as _
from PIL import Image, ImageOps, UnidentifiedImageError

from gateway.errors import ImageInvalid
from gateway.http.client import http_fetch

# What Pillow says it found -> (file ending, content type). MPO is a telephone's JPEG with a second picture inside.
FORMATS = {
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "MPO": ("jpg", "image/jpeg"),
    "WEBP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
    "BMP": ("bmp", "image/bmp"),
}
READERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
UNREADABLE = _("its format is none of PNG, JPEG, WEBP, GIF, BMP")
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 4096 * 4096
FETCH_TIMEOUT_S = 15.0
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """A checked picture as it came: `data` decodes, whole. Width and height are as a viewer shows it (EXIF turned)."""

    data: bytes
    format: str
    width_px: int
    height_px: int

    @property
    def extension(self) -> str:
        return FORMATS[self.format][0]

    @property
    def content_type(self) -> str:
        return FORMATS[self.format][1]


def image_fetch(
    url: str, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS, timeout_s: float = FETCH_TIMEOUT_S
) -> FetchedImage:
    """Raises AddressRefused, FetchFailed or ImageInvalid."""
    fetched = http_fetch(url, max_bytes=max_bytes, timeout_s=timeout_s, accept="image/*")
    return image_check(fetched.body, max_bytes=max_bytes, max_pixels=max_pixels)


def image_check(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> FetchedImage:
    """The same for bytes that came in a request. Raises ImageInvalid."""
    if len(data) > max_bytes:
        raise ImageInvalid(reason=_("it has {} bytes, the limit is {}").format(len(data), max_bytes))
    with _told(max_pixels):
        image = _decoded(data, max_pixels)
        width_px, height_px = image.size
        if image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8):
            width_px, height_px = height_px, width_px
    return FetchedImage(data=data, format=image.format or "", width_px=width_px, height_px=height_px)


def image_open(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The decoded first frame, turned upright as its EXIF says. Raises ImageInvalid."""
    with _told(max_pixels):
        return ImageOps.exif_transpose(_decoded(data, max_pixels))


def _decoded(data: bytes, max_pixels: int) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=READERS)
    width_px, height_px = image.size
    if width_px * height_px > max_pixels:
        raise ImageInvalid(
            reason=_("it has {} x {} = {} pixels, the limit is {}").format(
                width_px, height_px, width_px * height_px, max_pixels
            )
        )
    image.load()
    return image


@contextmanager
def _told(max_pixels: int) -> Iterator[None]:
    """Tell everything that Pillow's readers raise on broken files in our words."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageInvalid(reason=_("it has more pixels than the limit of {}").format(max_pixels)) from None
    except UnidentifiedImageError:
        raise ImageInvalid(reason=UNREADABLE) from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, OverflowError, IndexError, TypeError, KeyError):
        raise ImageInvalid(reason=_("it is broken or incomplete")) from None
