"""A TCP proxy on loopback that, while there is trouble, breaks or delays that share of the messages to its server."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time

SILENCE_S = 1.0  # longer than any client here waits for an answer that admission depends on
CHUNK_BYTES = 65536
# close() then sends a reset at once instead of an orderly end
RESET = struct.pack("ii", 1, 0)


class FlakyProxy:
    """`trouble` is the share of messages that meet a fault: lost before the server, lost after it, or late."""

    def __init__(self, port: int, *, seed: int) -> None:
        self._server_port = port
        self._chance = random.Random(seed)
        self.trouble = 0.0
        self.faults = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        threading.Thread(target=self._accept_forever, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept_forever(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()
        self._pump(client, server, True)

    def _pump(self, source: socket.socket, target: socket.socket, flaky: bool) -> None:
        """Carry bytes until either side ends; requests are what meets faults."""
        try:
            while data := source.recv(CHUNK_BYTES):
                fault = self._draw() if flaky else None
                if fault == "late":
                    time.sleep(SILENCE_S)
                if fault == "lost before":
                    break
                target.sendall(data)
                if fault == "lost after":
                    break
        except OSError:
            return
        finally:
            for one in (source, target):
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _draw(self) -> str | None:
        if self._chance.random() >= self.trouble:
            return None
        self.faults += 1
        return self._chance.choice(["lost before", "lost after", "late"])
