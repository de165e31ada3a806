"""What somebody who watches a render sees before it ends: its steps as they come, and a small picture in storage.

Both may fail or come late without any harm: the outcome does not depend on them.
"""

from __future__ import annotations

import io
import logging
import threading
from concurrent.futures import Executor, Future, wait
from typing import Any

from PIL import Image

from inference.storage import Storage

logger = logging.getLogger(__name__)
JPEG_QUALITY = 80
# A store that does not answer must not keep a finished picture from its customer. The sweep deletes what is left.
LAST_WRITE_S = 5.0


class Watch:
    """One attempt's. `files` runs what waits for storage; `moved` is set whenever there is something new to tell."""

    def __init__(self, *, key: str, storage: Storage, files: Executor, moved: threading.Event) -> None:
        self.key, self._storage, self._files, self._moved = key, storage, files, moved
        self._lock = threading.Lock()
        self._writing: Future[None] | None = None
        self._ended = False

    def listen(self, event: dict[str, Any]) -> None:
        """The engine's listener: called on the device's thread, so it returns at once."""
        if event["type"] == "preview":
            self._show(event["preview"])
        else:
            self._moved.set()

    def end(self) -> None:
        """No preview outlives its render."""
        with self._lock:
            self._ended, writing = True, self._writing
        if writing is None:
            return
        wait([writing], timeout=LAST_WRITE_S)
        try:
            self._storage.delete(self.key)
        except Exception:  # Every store has errors of its own.
            logger.warning("The preview %s could not be deleted.", self.key, exc_info=True)

    def _show(self, picture: Image.Image) -> None:
        """A store that is slower than the previews gets fewer of them."""
        with self._lock:
            if not self._ended and (self._writing is None or self._writing.done()):
                self._writing = self._files.submit(self._write, picture)

    def _write(self, picture: Image.Image) -> None:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
        try:
            self._storage.write(self.key, file.getvalue(), "image/jpeg")
        except Exception:  # Every store has errors of its own.
            logger.warning("The preview %s could not be written.", self.key, exc_info=True)
        self._moved.set()
