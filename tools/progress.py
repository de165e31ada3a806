"""What the tools print while something takes long. On a terminal one line moves; in a log a line comes now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

LOG_INTERVAL_S = 10.0
TERMINAL_INTERVAL_S = 0.2
DETAIL_WIDTH = 60


class Step:
    """One step with its clock: `with Step("Installing") as step: step.tick("torch")`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._terminal = sys.stderr.isatty()
        self._began_s = time.monotonic()
        self._told_s = self._began_s

    def __enter__(self) -> Self:
        self._write(f"{self.title} ...", final=False)
        return self

    def tick(self, detail: str = "") -> None:
        """Say that it goes on; calls that come too fast are dropped."""
        now_s = time.monotonic()
        if now_s - self._told_s < (TERMINAL_INTERVAL_S if self._terminal else LOG_INTERVAL_S):
            return
        self._told_s = now_s
        self._write(f"{self.title} ... {now_s - self._began_s:.0f} s  {detail[:DETAIL_WIDTH]}", final=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        verdict = "done" if kind is None else "stopped"
        self._write(f"{self.title} ... {verdict} in {time.monotonic() - self._began_s:.1f} s", final=True)

    def _write(self, text: str, *, final: bool) -> None:
        if self._terminal:
            sys.stderr.write(f"\r\x1b[2K{text}" + ("\n" if final else ""))
        else:
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
