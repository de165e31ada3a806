"""What a store can do, whatever holds the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

SWEEP_FILES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An opened file: the caller closes `body`."""

    body: BinaryIO
    size_bytes: int
    modified_epoch_s: float


class Storage(Protocol):
    """Files under keys (see keys.py). Methods raise KeyRefused for a bad key and FileMissing for an absent file."""

    def write(self, key: str, data: bytes, content_type: str) -> None:
        """Whole or not at all: a reader sees the former file, or this one."""

    def read(self, key: str) -> bytes: ...

    def open(self, key: str) -> StoredFile:
        """For streaming it to somebody."""

    def exists(self, key: str) -> bool: ...

    def delete(self, key: str) -> None:
        """Absent files are no error."""

    def move(self, key: str, to: str) -> None:
        """Absent files are no error: what is moved already stays moved."""

    def url(self, key: str) -> str:
        """Where a client finds the file, also before it stands: a path of this service, or a whole URL."""

    def presign(self, key: str, *, expires_s: int) -> str | None:
        """A URL at the store itself that works for a while; None when the file must be served by us."""

    def sweep(self, now: datetime, limit: int = SWEEP_FILES_MAX) -> int:
        """Delete temporary files that have died, at most `limit`; how many it deleted."""
