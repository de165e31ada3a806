"""`make run`: from a fresh clone to a working image API, and back to nothing with one Ctrl-C.

It owns the order of the start and what is printed about it. What runs stands in the Procfile.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - before any import that an older Python could not even read
    sys.exit("Python 3.11 or newer is needed; this is {}.{}. Try: make run PYTHON=python3.11".format(*sys.version_info))

import argparse
import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tools.environment import ROOT, VENV, ensure
from tools.problems import Problem, exit_with_sentence
from tools.progress import Step
from tools.supervisor import Supervisor, read_procfile

READY_TIMEOUT_S = 240.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    os.chdir(ROOT)
    _load_dotenv()
    arguments = _arguments()
    os.environ.update({"PORT": str(arguments.port), "PYTHONUNBUFFERED": "1"})
    run_folder = _run_folder()
    sandbox = _payment_sandbox(arguments.port, run_folder)
    if arguments.db == "postgres":
        _start_again_with_postgres(run_folder)
    with _only_one(run_folder):
        _demand_free_port(arguments.port)
        python = ensure()
        os.environ["PATH"] = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
        os.umask(0o077)  # what the service writes (database, keys, pictures) is its owner's alone
        facts = _prepare(python, run_folder)
        return _serve(facts, run_folder, sandbox)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prepare and run the whole service on this machine.")
    parser.add_argument("--db", choices=["sqlite", "postgres"], default="sqlite", help="postgres: one in .run/postgres")
    parser.add_argument("--port", type=_port, default=_port(os.environ.get("PORT") or "8000"))
    return parser.parse_args()


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise Problem(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def _load_dotenv() -> None:
    """Settings of the file .env reach every process, also the render worker, which does not read it by itself."""
    with contextlib.suppress(FileNotFoundError):
        for line in (ROOT / ".env").read_text().splitlines():
            found = re.fullmatch(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*", line)
            if found:
                os.environ.setdefault(found[1], found[2].strip("'\""))


def _run_folder() -> Path:
    folder = Path(os.environ.get("RUN_DIR") or ROOT / ".run")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "writable").touch()
        (folder / "writable").unlink()
    except OSError as error:
        raise Problem(
            f"The folder {folder} cannot be written ({error.strerror}): it holds the service's data."
        ) from error
    return folder


def _start_again_with_postgres(run_folder: Path) -> None:
    """Become the same command inside a PostgreSQL of this folder; its wheel is among the tools of development."""
    python = str(ensure(development=True))
    if os.geteuid() == 0:
        run_folder.chmod(0o711)  # PostgreSQL refuses root, so its ordinary user must reach its folder in here
    lender = [python, "-m", "tests.support.servers", "--only", "postgres", "--keep", str(run_folder)]
    os.execv(python, [*lender, "--", python, "-m", "tools.run", "--port", os.environ["PORT"]])  # noqa: S606


@contextlib.contextmanager
def _only_one(run_folder: Path) -> Iterator[None]:
    """Two services on one folder would fight for its database and its port."""
    with (run_folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise Problem(f"The service of this folder runs already (process {lock.read().strip()}).") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _demand_free_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((os.environ.get("HOST") or "127.0.0.1", port))
        except PermissionError as error:
            raise Problem(f"Port {port} is reserved for the system. Try: make run PORT=8000") from error
        except OSError as error:
            raise Problem(
                f"Port {port} is taken by another program. Choose another: make run PORT={port + 1}."
            ) from error


def _prepare(python: Path, run_folder: Path) -> dict[str, str]:
    """Database, catalogue, demo account, static files: in one process, which reports the account as JSON."""
    done = subprocess.run([str(python), "-m", "tools.prepare"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Problem("The service could not be prepared; the reason stands above.")
    facts: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    _write_facts(facts, run_folder / "demo.env")
    return facts


def _write_facts(facts: dict[str, str], path: Path) -> None:
    """The same facts for programs. The file holds secrets: it is the owner's from its first byte."""
    lines = [f"{name}={facts[name.lower()]}" for name in ("URL", "API_KEY", "ADMIN_EMAIL", "ADMIN_PASSWORD")]
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    part.replace(path)


def _payment_sandbox(port: int, run_folder: Path) -> dict[str, str]:
    """The stand-in Stripe beside the service, so that paying can be clicked through; none where payments are set up,
    or switched off by an empty BILLING_PROVIDER. It is no part of the Procfile: production must not run it."""
    if os.environ.get("STRIPE_API_KEY") or os.environ.get("BILLING_PROVIDER", "sandbox") != "sandbox":
        return {}
    own_port = port + 46 if port < 65_000 else port - 46
    os.environ["BILLING_PROVIDER"] = "sandbox"
    os.environ["STRIPE_API_BASE"] = f"http://127.0.0.1:{own_port}"
    os.environ.setdefault("STRIPE_WEBHOOK_SECRETS", "whsec_sandbox")
    secret = os.environ["STRIPE_WEBHOOK_SECRETS"].split(",")[0]
    command = f"python -m billing.sandbox --port {own_port} --state {shlex.quote(str(run_folder / 'sandbox.json'))}"
    webhook = f"http://127.0.0.1:{port}/stripe/webhook"
    return {"sandbox": f"{command} --webhook-url {webhook} --secret {shlex.quote(secret)}"}


def _serve(facts: dict[str, str], run_folder: Path, sandbox: dict[str, str]) -> int:
    processes = read_procfile(ROOT / "Procfile") | sandbox
    supervisor = Supervisor(processes, os.environ, run_folder / "logs")

    def stop(_number: int, _frame: FrameType | None) -> None:
        if supervisor.stopping:
            raise KeyboardInterrupt
        supervisor.ask_to_stop()

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    try:
        supervisor.start()
        _wait_until_ready(supervisor, _own_address())
        if not supervisor.stopping:
            print(_greeting(facts, run_folder / "demo.env"), flush=True)
            supervisor.loud = True
            supervisor.watch()
    finally:
        supervisor.ask_to_stop()
        with Step("Stopping"):
            supervisor.stop()
    return 0


def _own_address() -> str:
    """Where this machine reaches the web process; PUBLIC_URL may lead through a proxy that is not up yet."""
    host = os.environ.get("HOST") or "127.0.0.1"
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{os.environ['PORT']}"  # noqa: S104


def _wait_until_ready(supervisor: Supervisor, url: str) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    with Step("Starting the web, the workers and the render worker") as step:
        missing = ""
        while not supervisor.stopping:
            supervisor.demand_all_alive()
            missing = _what_is_missing(url)
            if not missing:
                return
            if time.monotonic() > deadline_s:
                raise Problem(f"After {READY_TIMEOUT_S:.0f} s the service is not ready: {missing}.")
            step.tick(missing)
            time.sleep(0.1)


def _what_is_missing(url: str) -> str:
    """Empty when web and render worker answer. Proxies of the environment are not asked about our own loopback."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health/ready", timeout=5):
            return ""
    except urllib.error.HTTPError as error:
        return f"the web answers {error.code}: {error.read(200).decode(errors='replace').strip()}"
    except OSError:
        return "the web does not answer yet"


def _greeting(facts: dict[str, str], facts_file: Path) -> str:
    return f"""
Ready. Key of the demo account:

    {facts["api_key"]}

Make a picture (paste into another terminal):

    {curl_line(facts)}

    Site   {facts["url"]}/
    Docs   {facts["url"]}/docs/
    Admin  {facts["url"]}/admin/   {facts["admin_email"]}  {facts["admin_password"]}

The same facts stand in {facts_file}. Ctrl-C ends everything and keeps the data.
"""


def curl_line(facts: dict[str, str]) -> str:
    body = {"key": facts["api_key"], "prompt": "a red circle on a blue background", "width": 512, "height": 512}
    if facts.get("model_id"):
        body["model_id"] = facts["model_id"]
    route = f"{facts['url']}/api/v7/images/text-to-image"
    return f"curl -s {route} -H 'Content-Type: application/json' -d '{json.dumps(body)}'"


if __name__ == "__main__":
    sys.exit(exit_with_sentence(main))
