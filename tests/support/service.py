"""The whole service as processes on loopback, for tests that need it whole: web, worker, dispatcher, render worker.

Every process is a child that ends with its owner. Tests may kill and restart each by name.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.servers import free_port
from tools.supervisor import dies_with_owner

PROJECT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
DATABASE = "gateway.sqlite3"


@contextlib.contextmanager
def prepared(name: str) -> Iterator[Path]:
    """A folder of this run of the tests that its processes fill and read in turn; it goes with them."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    folder = Path(tempfile.gettempdir()) / f"gateway-tests-prepared-{run}" / name
    folder.mkdir(parents=True, exist_ok=True)
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


class Service:
    """`env` holds what differs from the embedded profile. `commands` are started in their order by `start`."""

    def __init__(self, run_dir: Path, *, env: Mapping[str, str] | None = None, real_engine: bool = False) -> None:
        self.run_dir = run_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Only what a process needs: nothing of the developer's own configuration reaches the service under test.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
        self.env = kept | {
            "RUN_DIR": str(run_dir),
            "PORT": str(self.port),
            "SECRET_KEY": "tests-only-and-long-enough-to-satisfy-every-check-of-the-framework",
            "PYTHONUNBUFFERED": "1",
            "LOG_LEVEL": "WARNING",
            "RENDER_NAME": "test",
            "RENDER_THREADS": "1",
            **(env or {}),
        }
        render = "inference.worker" if real_engine else "tests.support.instant_worker"
        python = sys.executable
        celery = [python, "-m", "celery", "-A", "gateway", "worker", "-Q", "default,outcomes", "--pool", "threads"]
        self.commands: dict[str, list[str]] = {
            "web": [python, "-m", "gunicorn", "gateway.wsgi"],
            "worker": [*celery, "--concurrency", "4", "-l", "WARNING", "--without-gossip", "--without-mingle"],
            "dispatcher": [python, "manage.py", "dispatcher"],
            "render": [python, "-m", render],
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._starting = threading.Lock()

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self.env,
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    def prepare(self) -> None:
        """Tables and catalogue; on SQLite a copy of what the first service of this run of the tests has made."""
        if self.env.get("DATABASE_URL"):
            self._fill()
            return
        with prepared("database") as folder:
            if not (folder / DATABASE).exists():
                Service(folder)._fill()
            with (
                contextlib.closing(sqlite3.connect(folder / DATABASE)) as made,
                contextlib.closing(sqlite3.connect(self.run_dir / DATABASE)) as own,
            ):
                made.backup(own)

    def _fill(self) -> None:
        self.manage("migrate", "-v", "0")
        self.manage("catalogue_load")

    def collect_static(self) -> None:
        """The files of the pages, once for all services of this run of the tests."""
        with prepared("static") as folder:
            self.env["STATIC_ROOT"] = str(folder / "files")
            if not (folder / "files").exists():
                self.manage("collectstatic", "--noinput", "-v", "0")

    def start(self, *names: str) -> None:
        for name in names or self.commands:
            env = dict(self.env)
            if name == "render":
                for secret in ("DATABASE_URL", "SECRET_KEY"):
                    env.pop(secret, None)
            log = (self.run_dir / f"{name}.log").open("ab")
            self.processes[name] = subprocess.Popen(
                self.commands[name],
                cwd=PROJECT,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_owner(signal.SIGKILL),
            )
            log.close()

    def start_if_ended(self, name: str) -> None:
        """What a supervisor does for a process that ended by itself, not for one that is being stopped."""
        with self._starting:
            process = self.processes.get(name)
            if process is not None and process.poll() is not None:
                self.start(name)

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until a call would be accepted and rendered; the logs' ends in the error when that takes too long."""
        self._wait_for("/health/ready", timeout_s)

    def wait_live(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until the web process answers, whatever else runs."""
        self._wait_for("/health/live", timeout_s)

    def _wait_for(self, path: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url + path, timeout=2):
                return
            time.sleep(0.02)
        raise TimeoutError(f"{path} did not answer within {timeout_s} s.\n{self.logs()}")

    def kill(self, name: str) -> None:
        """SIGKILL for the process and all of its children: nothing of it gets to say goodbye."""
        process = self._taken(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT_S)

    def stop(self, *names: str) -> None:
        ending = [self._taken(name) for name in names or list(self.processes)]
        for process in ending:
            process.terminate()
        for process in ending:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(STOP_TIMEOUT_S)

    def discard(self) -> None:
        """Kill whatever runs. For the end of a test, when nothing of it is asked any more: ending takes seconds."""
        for name in list(self.processes):
            self.kill(name)

    def _taken(self, name: str) -> subprocess.Popen[bytes]:
        with self._starting:
            return self.processes.pop(name)

    def logs(self, lines: int = 15) -> str:
        ends = []
        for name in self.commands:
            file = self.run_dir / f"{name}.log"
            if file.exists():
                ends.append(f"--- {name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-lines:]))
        return "\n".join(ends)


@contextlib.contextmanager
def running_service(
    run_dir: Path, *, env: Mapping[str, str] | None = None, real_engine: bool = False, pages: bool = False
) -> Iterator[Service]:
    """The service until the end of the block; `pages` collects what its pages need beside the API."""
    service = Service(run_dir, env=env, real_engine=real_engine)
    service.prepare()
    if pages:
        service.collect_static()
    try:
        service.start()
        service.wait_ready()
        yield service
    finally:
        service.discard()
