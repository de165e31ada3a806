"""Files on the disk of this machine. A file is written aside and moved to its place when it is whole."""

from __future__ import annotations

import contextlib
import heapq
import os
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from inference.storage.base import SWEEP_FILES_MAX, StoredFile
from inference.storage.keys import TEMPORARY, FileMissing, expiry_epoch_s, key_checked

FILE_MODE = 0o644
UNFINISHED = ".unfinished"  # no key begins with a dot: nobody can ask for what is in there
# A writer needs milliseconds; what is left after this was left by a killed one.
UNFINISHED_AFTER_S = 3_600


class FileStorage:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, key: str, data: bytes, content_type: str) -> None:
        """The content type is told by the key's ending when the file is served."""
        path = self.path(key)
        unfinished = self.root / UNFINISHED / secrets.token_hex(12)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("xb") as file:
                # Whatever the umask says: a web server of another user may serve the folder.
                os.fchmod(file.fileno(), FILE_MODE)
                file.write(data)
                file.flush()
                # The picture is charged after this returns: a power cut must not leave an empty file under its name.
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def read(self, key: str) -> bytes:
        with _missing(key):
            return self.path(key).read_bytes()

    def open(self, key: str) -> StoredFile:
        with _missing(key):
            body = self.path(key).open("rb")
        status = os.fstat(body.fileno())
        return StoredFile(body=body, size_bytes=status.st_size, modified_epoch_s=status.st_mtime)

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def delete(self, key: str) -> None:
        with contextlib.suppress(NotADirectoryError):
            self.path(key).unlink(missing_ok=True)

    def move(self, key: str, to: str) -> None:
        target = self.path(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.path(key).replace(target)

    def url(self, key: str) -> str:
        return f"/media/{key_checked(key)}"

    def presign(self, key: str, *, expires_s: int) -> str | None:
        return None

    def sweep(self, now: datetime, limit: int = SWEEP_FILES_MAX) -> int:
        """Oldest first. It also removes what killed writers left."""
        keys = [f"{TEMPORARY}/{name}" for name in self._names(TEMPORARY)]
        dead = [key for key in keys if (expiry_epoch_s(key) or 0) <= now.timestamp()]
        for key in heapq.nsmallest(limit, dead):
            self.delete(key)
        self._remove_unfinished(now, limit)
        return min(len(dead), limit)

    def path(self, key: str) -> Path:
        return self.root / key_checked(key)

    def _names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self.root / folder)
        except FileNotFoundError:
            return []

    def _remove_unfinished(self, now: datetime, limit: int) -> None:
        for name in self._names(UNFINISHED)[:limit]:
            path = self.root / UNFINISHED / name
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < now.timestamp() - UNFINISHED_AFTER_S:
                    path.unlink()


@contextlib.contextmanager
def _missing(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise FileMissing(key) from None
