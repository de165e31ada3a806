"""The one client for addresses that users give us. It must never connect to what they should not reach.

A host is resolved once, its addresses are checked, and the connection goes to a checked address while Host and SNI
keep the name: a name that changes its mind between the check and the connection changes nothing. Redirects are
followed by hand under the same rule. No cookies, no proxies from the environment, no credentials, and one deadline
over everything.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urljoin, urlsplit

import certifi
import httpcore
import idna
from django.utils.translation import gettext_noop as _

from gateway.errors import AddressRefused, FetchFailed
from gateway.http.addresses import Address, address_allowed, address_exceptions, url_checked

REDIRECTS_MAX = 3
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
CONNECT_TIMEOUT_S = 10.0
# getaddrinfo cannot be interrupted; whoever waits for it can stop waiting.
RESOLVER_THREADS = 32
_ASCII_KEPT = "!$%&'()*+,-./:;=?@_~"  # what a path or a query holds by itself; `%` begins what is encoded already
_USUAL_PORTS = {"http": 80, "https": 443}  # a Host header leaves them out, and signed addresses depend on it
USER_AGENT = "image-gateway/1"

_resolver = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The end of a redirect chain."""

    url: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Posted:
    """Whatever the receiver answered: any status, the first bytes of its body."""

    status: int
    excerpt: bytes


def http_fetch(url: str, *, max_bytes: int, timeout_s: float, accept: str = "*/*") -> Fetched:
    """GET of a file into memory. Raises AddressRefused or FetchFailed."""
    with _get(url, timeout_s=timeout_s, accept=accept) as (response, final_url):
        _promised_size_checked(response, max_bytes, final_url)
        body = b"".join(_bounded(response.chunks, max_bytes, final_url))
        return Fetched(url=final_url, content_type=response.headers.get("content-type", ""), body=body)


class Sink(Protocol):
    """Where a download goes: an open file, or whatever else takes bytes."""

    def write(self, data: bytes, /) -> int: ...


def http_download(
    url: str, *, into: Sink, max_bytes: int, timeout_s: float, promised: Callable[[int], object] | None = None
) -> int:
    """GET of a large file into an open one; its size. Raises AddressRefused or FetchFailed.

    `promised` is told the size in bytes before the first of them, where the server states it; what it raises ends the
    download.
    """
    written_bytes = 0
    with _get(url, timeout_s=timeout_s, accept="*/*") as (response, final_url):
        _promised_size_checked(response, max_bytes, final_url)
        length = response.headers.get("content-length", "")
        if promised is not None and length.isdecimal():
            promised(int(length))
        for chunk in _bounded(response.chunks, max_bytes, final_url):
            written_bytes += into.write(chunk)
    return written_bytes


def http_post(
    url: str, *, content: bytes, headers: Mapping[str, str], timeout_s: float, excerpt_bytes: int = 512
) -> Posted:
    """POST over https, redirects not followed: nobody but the named receiver may read it.

    Raises AddressRefused or FetchFailed.
    """
    request_headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **headers}
    url_checked(url, plain_http=False)
    with _exchange(url), _Call(timeout_s) as call, call.send("POST", url, request_headers, content) as response:
        return Posted(status=response.status, excerpt=_beginning(response.chunks, excerpt_bytes))


@dataclass(frozen=True, slots=True)
class _Response:
    """The head of an answer with names of headers in lower case, and its body as it comes."""

    status: int
    headers: dict[str, str]
    chunks: Iterator[bytes]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


# --- one exchange ----------------------------------------------------------------------------------------------


class _Call:
    """A connection pool of its own for each call: nothing is shared between strangers, and the deadline is whole."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline_s = time.monotonic() + timeout_s
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=1,
            network_backend=GuardedBackend(self._deadline_s),
        )

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    @contextmanager
    def send(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Iterator[_Response]:
        where = _url_on_the_wire(url)
        lines = {"Host": _host_header(where), **headers}
        if content is not None:
            lines["Content-Length"] = str(len(content))
        timeout = {"pool": max(self._deadline_s - time.monotonic(), 0.0)}
        request = httpcore.Request(
            method, where, headers=list(lines.items()), content=content, extensions={"timeout": timeout}
        )
        answer = self._pool.handle_request(request)
        try:
            told = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in answer.headers}
            yield _Response(answer.status, told, answer.iter_stream())
        finally:
            answer.close()


def _url_on_the_wire(url: str) -> httpcore.URL:
    """The URL in ASCII: a host of other letters as IDNA 2008, the rest percent-encoded where it is not yet."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        host = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise httpcore.ConnectError(_HostUnknown()) from None
    target = quote(parts.path or "/", safe=_ASCII_KEPT) + (
        f"?{quote(parts.query, safe=_ASCII_KEPT)}" * bool(parts.query)
    )
    port = None if parts.port == _USUAL_PORTS.get(parts.scheme) else parts.port
    return httpcore.URL(scheme=parts.scheme, host=host, port=port, target=target)


def _host_header(url: httpcore.URL) -> str:
    host = url.host.decode("ascii")
    named = f"[{host}]" if ":" in host else host
    return named if url.port is None else f"{named}:{url.port}"


class GuardedBackend(httpcore.NetworkBackend):
    """Opens connections to checked addresses alone, and lets no read, write or handshake pass the deadline."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        problem: Exception = httpcore.ConnectError("the host has no address")
        for address in self._checked(host, port):
            limit_s = min(CONNECT_TIMEOUT_S, left_s(self._deadline_s))
            try:
                stream = self._backend.connect_tcp(str(address), port, limit_s, local_address, socket_options)
                return _DeadlineStream(stream, self._deadline_s)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                problem = failed
        raise problem

    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> Any:
        raise httpcore.ConnectError("only the network is reached from here")

    def _checked(self, host: str, port: int) -> list[Address]:
        """All addresses of the host. One that is closed closes the host: an honest name does not mix them."""
        looked_up = _resolver.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = looked_up.result(timeout=left_s(self._deadline_s))
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name server did not answer") from None
        except (OSError, UnicodeError):
            raise httpcore.ConnectError(_HostUnknown()) from None
        addresses = list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
        exceptions = address_exceptions()
        if not all(address_allowed(address, exceptions=exceptions) for address in addresses):
            raise _Closed
        return addresses


class _HostUnknown(Exception):
    """No name server knows the host."""


class _Closed(Exception):
    """The host leads to an address that must not be reached."""


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline_s: float) -> None:
        self._stream = stream
        self._deadline_s = deadline_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, left_s(self._deadline_s))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left_s(self._deadline_s))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, left_s(self._deadline_s))
        return _DeadlineStream(secured, self._deadline_s)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def left_s(deadline_s: float) -> float:
    left = deadline_s - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for this call is over")
    return left


@functools.cache
def _tls() -> ssl.SSLContext:
    """Reading the authorities takes 20 ms: once per process. The system's count beside the usual ones."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


# What a connection failed of, the special before the general.
_CONNECT_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (_HostUnknown, _("its host is not known")),
    (ConnectionRefusedError, _("it refuses connections")),
    (ssl.SSLCertVerificationError, _("its TLS certificate is not valid")),
    (ssl.SSLError, _("its server does not speak TLS as it should")),
)


@contextmanager
def _exchange(url: str) -> Iterator[None]:
    """Tell every way in which an exchange can fail in the words of our errors."""
    try:
        yield
    except _Closed:
        raise AddressRefused(url=url, reason=_("it is not on the public internet")) from None
    except httpcore.TimeoutException:
        raise FetchFailed(url=url, reason=_("it took too long")) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as problem:
        raise FetchFailed(url=url, reason=_in_words(problem)) from None


def _in_words(problem: Exception) -> str:
    """A reason of ours; what a library says of it stands behind, in brackets."""
    if isinstance(problem, httpcore.ConnectError):
        return _with_detail(_connect_reason(problem), str(problem))
    if isinstance(problem, httpcore.ProtocolError):
        return _("its server does not speak HTTP as it should")
    return _("the connection broke")


def _connect_reason(problem: httpcore.ConnectError) -> str:
    cause = problem.args[0] if problem.args else None
    for kind, reason in _CONNECT_REASONS:
        if isinstance(cause, kind):
            return reason
    return _("the connection failed")


def _with_detail(reason: str, detail: str) -> str:
    return f"{reason} ({detail})" if detail else reason


# --- reading ---------------------------------------------------------------------------------------------------


@contextmanager
def _get(url: str, *, timeout_s: float, accept: str) -> Iterator[tuple[_Response, str]]:
    """The successful answer at the end of the redirects, and where that was."""
    headers = {"User-Agent": USER_AGENT, "Accept": accept, "Accept-Encoding": "identity"}
    deadline_s = time.monotonic() + timeout_s
    for _hop in range(REDIRECTS_MAX + 1):
        url_checked(url)
        with (
            _exchange(url),
            _Call(left_s(deadline_s)) as call,
            call.send("GET", url, headers) as response,
        ):
            location = response.headers.get("location")
            if response.status not in REDIRECT_STATUSES or not location:
                if not response.is_success:
                    raise FetchFailed(url=url, reason=_("it answered {}").format(response.status))
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise FetchFailed(url=url, reason=_("its answer is compressed although that was not asked for"))
                yield response, url
                return
        url = urljoin(url, location)
    raise FetchFailed(url=url, reason=_("it redirects more than {} times").format(REDIRECTS_MAX))


def _promised_size_checked(response: _Response, max_bytes: int, url: str) -> None:
    promised = response.headers.get("content-length", "")
    if promised.isdecimal() and int(promised[:18]) > max_bytes:
        raise FetchFailed(url=url, reason=_("it is larger than {} bytes").format(max_bytes))


def _bounded(chunks: Iterable[bytes], max_bytes: int, url: str) -> Iterator[bytes]:
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise FetchFailed(url=url, reason=_("it is larger than {} bytes").format(max_bytes))
        yield chunk


def _beginning(chunks: Iterable[bytes], size_bytes: int) -> bytes:
    beginning = b""
    for chunk in chunks:
        beginning += chunk
        if len(beginning) >= size_bytes:
            break
    return beginning[:size_bytes]
