"""The whole service as processes on loopback, for tests that need it whole: web, worker, dispatcher, render worker.

Every process is a child that ends with its owner. Tests may kill and restart each by name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
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
        self.manage("migrate", "-v", "0")
        self.manage("catalogue_load")

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

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until a call would be accepted and rendered; the logs' ends in the error when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(f"{self.url}/health/ready", timeout=2),
            ):
                return
            time.sleep(0.1)
        raise TimeoutError(f"The service did not get ready in {timeout_s} s.\n{self.logs()}")

    def kill(self, name: str) -> None:
        """SIGKILL for the process and all of its children: nothing of it gets to say goodbye."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT_S)

    def stop(self, *names: str) -> None:
        for name in names or list(self.processes):
            self.processes[name].terminate()
        for name in names or list(self.processes):
            process = self.processes.pop(name)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(STOP_TIMEOUT_S)

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
    more = {"STATIC_ROOT": str(run_dir / "static")} if pages else {}
    service = Service(run_dir, env={**more, **(env or {})}, real_engine=real_engine)
    service.prepare()
    if pages:
        service.manage("collectstatic", "--noinput", "-v", "0")
    try:
        service.start()
        service.wait_ready()
        yield service
    finally:
        service.stop()
