"""Pictures at their promised addresses: 404 until a file stands, 410 after a temporary link has died.

It serves finished files by key and nothing else: no listing, no inputs, no database, no session.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TypeVar

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils import timezone
from django.utils.http import http_date, parse_http_date_safe

from inference.storage import (
    FileMissing,
    KeyRefused,
    StoredFile,
    content_type_of,
    expiry_epoch_s,
    get_storage,
    is_preview,
    is_served,
    key_checked,
)

CACHE_S = 31_536_000
REDIRECT_S = 3_600
R = TypeVar("R", bound=HttpResponseBase)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def media(request: HttpRequest, key: str) -> HttpResponseBase:
    """GET or HEAD of one stored picture."""
    if request.method not in ("GET", "HEAD"):
        return _guarded(HttpResponse(status=405, headers={"Allow": "GET, HEAD"}))
    now = timezone.now()
    try:
        if not is_served(key_checked(key)):
            return _refusal(404, "There is no such file.")
        expires_epoch_s = expiry_epoch_s(key)
        if expires_epoch_s is not None and expires_epoch_s <= now.timestamp():
            return _refusal(410, "This temporary link has expired.")
        return _guarded(_deliver(request, key, now))
    except (KeyRefused, FileMissing):
        return _refusal(404, "There is no such file, or it is not finished yet.")


def _deliver(request: HttpRequest, key: str, now: datetime) -> HttpResponseBase:
    storage = get_storage()
    link = storage.presign(key, expires_s=min(REDIRECT_S, _life_s(key, now)))
    if link is not None:
        if not storage.exists(key):
            raise FileMissing(key)
        return HttpResponseRedirect(link, headers={"Cache-Control": "no-store"})
    return _file_response(request, key, storage.open(key), now)


def _file_response(request: HttpRequest, key: str, file: StoredFile, now: datetime) -> HttpResponseBase:
    modified_epoch_s = int(file.modified_epoch_s)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store" if is_preview(key) else f"public, max-age={_life_s(key, now)}, immutable",
        "Last-Modified": http_date(modified_epoch_s),
    }
    since = parse_http_date_safe(request.headers.get("If-Modified-Since", ""))
    if since is not None and since >= modified_epoch_s:
        file.body.close()
        return HttpResponse(status=304, headers=headers)
    response = _whole_or_part(request, key, file)
    headers["Content-Disposition"] = _disposition(key)
    for name, value in headers.items():
        response[name] = value
    return response


def _whole_or_part(request: HttpRequest, key: str, file: StoredFile) -> HttpResponseBase:
    content_type = content_type_of(key) or "application/octet-stream"
    asked = _RANGE.fullmatch(request.headers.get("Range", "").strip())
    # Several ranges at once, and ranges of another version, are answered with the whole file, as the standard allows.
    if asked is None or not any(asked.groups()) or "If-Range" in request.headers:
        return _whole(request, file, content_type)
    with file.body as body:
        span = _span(asked[1], asked[2], file.size_bytes)
        if span is None:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{file.size_bytes}"})
        first, last = span
        body.seek(first)
        part = body.read(last - first + 1)
    return HttpResponse(
        part,
        status=206,
        content_type=content_type,
        headers={"Content-Range": f"bytes {first}-{last}/{file.size_bytes}"},
    )


def _whole(request: HttpRequest, file: StoredFile, content_type: str) -> HttpResponseBase:
    """Through the server's own file sender, where it has one (wsgi.file_wrapper)."""
    if request.method == "HEAD":
        file.body.close()
        return HttpResponse(content_type=content_type, headers={"Content-Length": str(file.size_bytes)})
    response = FileResponse(file.body, content_type=content_type)
    response["Content-Length"] = str(file.size_bytes)
    return response


def _span(first: str, last: str, size_bytes: int) -> tuple[int, int] | None:
    """The first and last byte of `bytes=first-last`, `bytes=first-` or `bytes=-count`; None when out of the file."""
    start = int(first) if first else max(size_bytes - int(last), 0)
    end = min(int(last), size_bytes - 1) if first and last else size_bytes - 1
    return (start, end) if start <= end else None


def _life_s(key: str, now: datetime) -> int:
    """How long anybody may keep a copy: a temporary picture no longer than its link."""
    expires_epoch_s = expiry_epoch_s(key)
    return CACHE_S if expires_epoch_s is None else max(int(expires_epoch_s - now.timestamp()), 1)


def _disposition(key: str) -> str:
    """Pictures open in the browser; what it should not open is saved. A key's name needs no quoting (see keys.py)."""
    shown = "inline" if content_type_of(key) else "attachment"
    return f'{shown}; filename="{key.rpartition("/")[2]}"'


def _refusal(status: int, text: str) -> HttpResponse:
    """Not to be remembered: the file may stand a second later. Clients poll these addresses, as they were told to."""
    response = HttpResponse(text, status=status, content_type="text/plain", headers={"Cache-Control": "no-store"})
    # A picture that is not finished is no event: without this, Django writes a warning for every look.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return _guarded(response)


def _guarded(response: R) -> R:
    """The bytes are a stranger's: never a document with rights here, and readable by any page that has the link."""
    if isinstance(response, HttpResponse):
        response.headers.setdefault("Content-Length", str(len(response.content)))
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    response["Access-Control-Allow-Origin"] = "*"
    return response
