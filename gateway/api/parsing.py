"""The door: body, form or query to plain fields, with the key taken out before anything else sees them.

Nothing here knows what a field means. What leaves this module carries the key in one place only: Call.key.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from django.conf import settings
from django.core.exceptions import DisallowedHost, RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from gateway.api.fields import is_absent
from gateway.api.refusals import BodyMalformed, BodyTooLarge, HostNotAllowed

if TYPE_CHECKING:
    from gateway.api.authentication import Caller

BEARER = "bearer "
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Call:
    """One request after the door. `fields` holds everything that came but the key; files are their bytes.

    `caller` is set once the key is known to be good: a refusal after that carries the account's rate limit headers.
    """

    key: str | None = field(repr=False)
    fields: dict[str, Any]
    address: str
    base_url: str
    request_id: str
    now: datetime
    started_s: float = field(default_factory=time.monotonic)
    idempotency_key: Any = None
    body_bytes: int = 0
    origin: str = ""
    caller: Caller | None = None


def call_read(request: HttpRequest, *, now: datetime) -> Call:
    """Raises BodyMalformed, BodyTooLarge, HostNotAllowed."""
    raw = _body(request)
    fields = _fields(request, raw)
    given = fields.pop("key", None)
    key = _key(request, given if raw and not raw.isspace() else None)
    return Call(
        key=key,
        fields=fields,
        address=client_address(request),
        base_url=base_url(request),
        request_id=getattr(request, "request_id", ""),
        now=now,
        idempotency_key=request.META.get("HTTP_IDEMPOTENCY_KEY") or fields.pop("idempotency_key", None),
        body_bytes=len(raw),
        origin=page_origin(request),
    )


def _body(request: HttpRequest) -> bytes:
    limit: int = settings.MAX_BODY_BYTES
    try:
        announced = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise BodyMalformed(reason="its Content-Length is no number") from None
    if announced > limit:
        raise BodyTooLarge(limit=limit)
    if announced == 0 and request.META.get("wsgi.input_terminated"):
        return _chunked_body(request, limit)
    try:
        return request.body
    except RequestDataTooBig:
        raise BodyTooLarge(limit=limit) from None
    except UnreadablePostError:
        raise BodyMalformed(reason="the connection ended before the body did") from None


def _chunked_body(request: HttpRequest, limit: int) -> bytes:
    """A body without a length, which Django takes for none. The server marks where it ends."""
    if "chunked" not in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        return b""
    raw: bytes = request.META["wsgi.input"].read(limit + 1)
    if len(raw) > limit:
        raise BodyTooLarge(limit=limit)
    request._body = raw
    return raw


def _fields(request: HttpRequest, raw: bytes) -> dict[str, Any]:
    """JSON whatever the content type says, else a form, else the query string."""
    text = raw.removeprefix(_UTF8_MARK).strip()
    if not text:
        return _plain(request.GET)
    if text[:1] == b"{":
        return _json(text)
    content_type = request.META.get("CONTENT_TYPE", "")
    if content_type.startswith("multipart/"):
        return _multipart(request)
    if text[:1] not in b'["' and b"=" in text:
        return _form(text)
    return _json(text)


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise BodyMalformed(reason=f"its JSON is not well formed ({problem.msg})") from None
    if isinstance(found, str):  # encoded twice, as some clients do
        try:
            found = orjson.loads(found)
        except orjson.JSONDecodeError:
            found = None
    if not isinstance(found, dict):
        raise BodyMalformed(reason="its JSON is not an object of fields")
    # Databases refuse the character NUL in texts.
    plain: dict[str, Any] = _without_nul(found) if b"\\u0000" in text else found
    return plain


def _form(text: bytes) -> dict[str, Any]:
    try:
        return _plain(QueryDict(text))
    except (SuspiciousOperation, UnicodeDecodeError, ValueError):
        raise BodyMalformed(reason="it is neither JSON nor a form") from None


def _multipart(request: HttpRequest) -> dict[str, Any]:
    try:
        fields = _plain(request.POST)
        files = request.FILES
    except RequestDataTooBig:
        raise BodyTooLarge(limit=settings.MAX_BODY_BYTES) from None
    except (MultiPartParserError, SuspiciousOperation):
        raise BodyMalformed(reason="its multipart form is not well formed") from None
    for name, file in files.items():
        fields[name] = file.read()  # type: ignore[union-attr]
    return fields


def _plain(form: QueryDict) -> dict[str, Any]:
    """The last value of each field; `name[]` is a list."""
    fields: dict[str, Any] = {}
    for name in form:
        if name.endswith("[]"):
            fields[name[:-2]] = form.getlist(name)
        else:
            fields[name] = form[name]
    plain: dict[str, Any] = _without_nul(fields)
    return plain


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(item) for name, item in value.items()}
    return value


def _key(request: HttpRequest, in_body: Any) -> str | None:
    """Body, header `key`, Bearer, X-API-Key, query: the first that is there."""
    meta = request.META
    bearer = meta.get("HTTP_AUTHORIZATION", "")
    for candidate in (
        in_body,
        meta.get("HTTP_KEY"),
        bearer[len(BEARER) :] if bearer[: len(BEARER)].lower() == BEARER else None,
        meta.get("HTTP_X_API_KEY"),
    ):
        if isinstance(candidate, str | int) and not is_absent(candidate):
            return str(candidate).strip()
    return (request.GET.get("key") or "").strip() or None if meta.get("QUERY_STRING") else None


def base_url(request: HttpRequest) -> str:
    """How clients reach this service: as its operator says, else as this client just did."""
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL).rstrip("/")
    try:
        return f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        raise HostNotAllowed from None


def page_origin(request: HttpRequest) -> str:
    """Scheme, host and port of the web page that a browser called from, in lower case; empty for other programs."""
    origin: str = request.META.get("HTTP_ORIGIN", "")
    if origin in ("", "null"):
        origin = "/".join(request.META.get("HTTP_REFERER", "").split("/", 3)[:3])
    return origin.lower()


def client_address(request: HttpRequest) -> str:
    """The caller's network address. X-Forwarded-For is believed from trusted proxies only, and from the right: what
    stands further left may be the caller's own invention."""
    address: str = request.META.get("REMOTE_ADDR", "")
    proxies = tuple(settings.TRUSTED_PROXIES)
    if not proxies or not _trusted(address, proxies):
        return address
    for hop in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        hop = hop.strip()
        if not _is_address(hop):
            break
        address = hop
        if not _trusted(hop, proxies):
            break
    return address


@lru_cache(maxsize=4096)
def _trusted(address: str, proxies: tuple[str, ...]) -> bool:
    if not _is_address(address):
        return address == ""  # a server on a unix socket names no peer: only the proxy can reach it
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_network(network, strict=False) for network in proxies)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
