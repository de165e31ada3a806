"""Runs the processes of the Procfile as one: their lines on one screen, one Ctrl-C for all, a fallen one brought back.

It knows nothing of what they do. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.problems import Problem

GRACE_S = 15.0  # between SIGTERM and SIGKILL: a request in progress may end, a render gives its lease back
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)
STEADY_S = 60.0  # who ran this long has earned a fresh count of falls
TAIL_LINES = 25
LOG_BYTES_MAX = 20 * 1024 * 1024
ASKS_AGAIN = os.EX_TEMPFAIL  # how a process ends that wants to be started again: a render worker told to restart
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def read_procfile(path: Path) -> dict[str, str]:
    """Name to shell command, in the file's order. Blank lines and comments are skipped."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.partition(":") for line in lines if line and not line.startswith("#")]
    return {name.strip(): command.strip() for name, _, command in pairs}


def dies_with_owner(with_signal: signal.Signals) -> Callable[[], None] | None:
    """For Popen's preexec_fn: on Linux the kernel signals the child when the thread that started it is gone."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def set_death_signal() -> None:
        prctl(PR_SET_PDEATHSIG, int(with_signal))

    return set_death_signal


class Child:
    """One process of the Procfile, in a process group of its own so that its children end with it."""

    def __init__(self, name: str, command: str, environment: Mapping[str, str], log: Path) -> None:
        self.name, self.command, self.environment, self.log = name, command, environment, log
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.falls = 0
        self.due_s: float | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started_s = 0.0

    def start(self, show: Callable[[str, str], None]) -> None:
        self._started_s = time.monotonic()
        self.due_s = None
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {self.command}"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=dies_with_owner(signal.SIGTERM),
        )
        self._reader = threading.Thread(target=self._read, args=(self._process, show), daemon=True)
        self._reader.start()

    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll() if self._process else None

    def fell(self) -> bool:
        return self.due_s is None and self.status() is not None

    def plan_restart(self) -> float:
        """The seconds until the next start. Raises Problem when it fell too often. Who asks to be started again did not
        fall."""
        if self.status() == ASKS_AGAIN:
            self.falls = 0
        if time.monotonic() - self._started_s > STEADY_S:
            self.falls = 0
        if self.falls >= len(BACKOFF_S):
            raise Problem(f"{self.name} fell {self.falls + 1} times in a row.\n{self.last_words()}")
        wait_s = BACKOFF_S[self.falls]
        self.falls += 1
        self.due_s = time.monotonic() + wait_s
        return wait_s

    def last_words(self) -> str:
        said = "\n".join(f"    {line}" for line in self.tail) or "    (it said nothing)"
        return f"{self.name} ended with status {self.status()}. Its last lines (all of them: {self.log}):\n{said}"

    def signal_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def reap(self) -> None:
        """Wait for a child that was killed, and for its last lines."""
        if self._process is not None and self._reader is not None:
            self._process.wait()
            self._reader.join(timeout=1)

    def _read(self, process: subprocess.Popen[str], show: Callable[[str, str], None]) -> None:
        assert process.stdout is not None
        with process.stdout as said, self.log.open("a") as log:
            for line in said:
                self.tail.append(line.rstrip())
                show(self.name, line.rstrip())
                if log.tell() > LOG_BYTES_MAX:
                    log.truncate(0)
                log.write(line)
                log.flush()


class Supervisor:
    """All children. `watch` returns only when it is told to stop, or raises Problem when one cannot be kept alive."""

    def __init__(self, commands: Mapping[str, str], environment: Mapping[str, str], log_folder: Path) -> None:
        log_folder.mkdir(parents=True, exist_ok=True)
        self.children = [
            Child(name, command, environment, log_folder / f"{name}.log") for name, command in commands.items()
        ]
        self.loud = False
        self._width = max(len(name) for name in commands)
        self._stopping = threading.Event()

    def start(self) -> None:
        for child in self.children:
            child.log.write_text("")
            child.start(self._show)

    def demand_all_alive(self) -> None:
        """While starting up nothing is brought back: the first fall is told at once."""
        for child in self.children:
            if child.fell():
                raise Problem(child.last_words())

    def watch(self) -> None:
        while not self._stopping.wait(0.2):
            for child in self.children:
                self._tend(child)

    def ask_to_stop(self) -> None:
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """End all: SIGTERM to every group, SIGKILL to what is left after the grace (at once on a second Ctrl-C)."""
        for child in self.children:
            if child.status() is None:
                child.signal_group(signal.SIGTERM)
        deadline_s = time.monotonic() + GRACE_S
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < deadline_s and any(child.status() is None for child in self.children):
                time.sleep(0.05)
        for child in self.children:
            child.signal_group(signal.SIGKILL)  # grandchildren may outlive an orderly end of their parent
            child.reap()

    def _tend(self, child: Child) -> None:
        if child.fell():
            status, wait_s = child.status(), child.plan_restart()
            how = "ended to be started again" if status == ASKS_AGAIN else f"ended with status {status}"
            self._show(child.name, f"{how}; it starts again in {wait_s:.0f} s")
        elif child.due_s is not None and time.monotonic() >= child.due_s:
            child.start(self._show)

    def _show(self, name: str, line: str) -> None:
        if self.loud:
            print(f"{name:<{self._width}} | {line}", flush=True)
