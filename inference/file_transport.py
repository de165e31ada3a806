"""Messages as files, for an installation without a broker: Celery's filesystem transport with whole files only.

The original writes a message under its final name, so a reader that is quick enough takes an empty file, falls over
and loses it (kombu 5.7, transport/filesystem.py, `_put`). Here a file gets its name when it is complete.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

TAKEN = ".taken-"
UNFINISHED = ".part-"


def write_whole(path: Path, text: str) -> None:
    part = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    part.write_text(text)
    part.replace(path)


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # the stubs disagree
        # The names sort by age, so that messages are taken in their order.
        name = f"{time.monotonic_ns():020}_{uuid.uuid4().hex}.{queue}.msg"
        write_whole(Path(self.data_folder_out) / name, dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        folder = Path(self.data_folder_in)
        for name in sorted(os.listdir(folder)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f"{TAKEN}{name}"
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                (folder / name).rename(taken)
                payload = loads(taken.read_text())
                taken.unlink()
                return payload
        raise Empty

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        file: Path = self._exchange_file(exchange)  # type: ignore[attr-defined]  # missing in the stubs
        binding = [routing_key or "", pattern or "", queue or ""]
        with _locked(Path(self.control_folder)):
            table = loads(file.read_text()) if file.exists() else []
            if binding not in table:
                write_whole(file, dumps([binding, *table]))


class Transport(filesystem.Transport):
    Channel = Channel


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time changes the files of this folder; the lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield
