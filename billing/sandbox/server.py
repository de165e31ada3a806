"""HTTP on loopback: API requests to the backend, pages to pages.py, `/_sandbox/` to the operations.

It must not decide anything about Stripe; it turns bytes into requests and answers into bytes.
"""

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from billing.sandbox.backend import Answer, Dropped, Incoming
from billing.sandbox.operations import OPERATIONS
from billing.sandbox.pages import Page, message, serve_page
from billing.sandbox.refusals import Refusal, unauthorized

if TYPE_CHECKING:
    from billing.sandbox.sandbox import SandboxStripe

BODY_BYTES_MAX = 1_000_000
CONTROL = "/_sandbox/"
# No form-action: a paid form leads on to the shop, which is another origin.
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self.open_sockets: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open_sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open_sockets.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Ends the connections that clients keep open, or they would go on being served without a listener."""
        for open_socket in list(self.open_sockets):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)


class Server:
    """The listening socket and its threads."""

    def __init__(self, stripe: "SandboxStripe", address: tuple[str, int]) -> None:
        handler = type("BoundHandler", (_Handler,), {"stripe": stripe})
        self._listener = _Listener(address, handler)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.05,), name="sandbox-stripe", daemon=True
        )

    @property
    def address(self) -> tuple[str, int]:
        return str(self._listener.server_address[0]), int(self._listener.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._listener.hang_up()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    stripe: "SandboxStripe"
    protocol_version = "HTTP/1.1"
    server_version = "SandboxStripe"
    sys_version = ""
    wbufsize = 65_536  # one write for head and body, else every answer waits for a delayed acknowledgement
    timeout = 60

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the log of a sandbox is its list of requests, and links to sessions must not be written anywhere."""

    def _serve(self) -> None:
        try:
            url = urlsplit(self.path)
            body = self._body()
            if url.path.startswith("/v1/") or url.path.startswith("/v2/"):
                incoming = Incoming(
                    self.command,
                    unquote(url.path),
                    url.query,
                    {name.title(): value for name, value in self.headers.items()},
                    body,
                )
                self._answer(self.stripe.backend.handle(incoming))
            elif url.path.startswith(CONTROL):
                self._answer(self._control(url.path.removeprefix(CONTROL), body))
            else:
                self._page(self._served_page(unquote(url.path), url.query, body))
        except Dropped:
            self.close_connection = True
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _served_page(self, path: str, query: str, body: str) -> Page:
        try:
            return serve_page(self.stripe.world, self.command, path, query, body)
        except Exception as error:  # noqa: BLE001 - a bug of the sandbox must show as a fault, not as a dead link
            self.stripe.faults.append(f"{self.command} {path}: the page failed with {error!r}")
            return message("The sandbox failed", "This is a fault of the payment sandbox, not of yours.", 500)
        finally:
            if self.command == "POST":
                self.stripe.world.changed.set()

    def _body(self) -> str:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= BODY_BYTES_MAX:
            self.close_connection = True
            raise Dropped
        return self.rfile.read(length).decode()

    def _answer(self, answer: Answer) -> None:
        self._send(answer.status, "application/json", json.dumps(answer.body, indent=2), answer.headers)

    def _page(self, page: Page) -> None:
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": PAGE_POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if page.location:
            headers["Location"] = page.location
        self._send(page.status, "text/html; charset=utf-8", page.html, headers)

    def _send(self, status: int, content_type: str, text: str, headers: dict[str, str]) -> None:
        payload = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(payload)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)
        self.wfile.flush()

    def _control(self, name: str, body: str) -> Answer:
        """What tests in other processes use: POST /_sandbox/<operation> with JSON arguments, GET for the records."""
        try:
            if self.headers.get("Authorization") != f"Bearer {self.stripe.api_key}":
                raise unauthorized()
            return Answer(200, {"result": self._controlled(name, json.loads(body or "{}"))})
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body)
        except (TypeError, ValueError) as error:
            return Answer(400, {"error": {"message": str(error)}})

    def _controlled(self, name: str, arguments: dict[str, Any]) -> Any:
        stripe = self.stripe
        if name in OPERATIONS:
            return stripe.operate(name, **arguments)
        if name == "trouble":
            return stripe.trouble.add(**arguments)
        if name == "chance":
            return stripe.trouble.chance(arguments["rate"], *arguments["kinds"], seconds=arguments.get("seconds", 0.0))
        if name == "clear":
            return stripe.trouble.clear()
        if name == "disturb":
            vars(stripe.webhooks.disturbance).update(arguments)
            return vars(stripe.webhooks.disturbance)
        if name == "deliver":
            return [vars(attempt) for attempt in stripe.deliver()]
        records = {
            "faults": stripe.faults,
            "requests": [vars(request) for request in stripe.requests],
            "events": stripe.events,
        }
        if name not in records:
            raise ValueError(f"There is no operation called {name!r}.")
        return records[name]
