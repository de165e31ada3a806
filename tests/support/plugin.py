"""What every test run needs before Django loads: a private RUN_DIR, and the real servers as fixtures.

It must stay free of Django imports at module level: settings are read after it.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import PostgresServer, RedisServer, ServerMissing, running, servers_required

MISSING_SERVERS = pytest.StashKey[list[str]]()

# A run of the tests never reads or writes the developer's own service.
_RUN_DIR = tempfile.TemporaryDirectory(prefix="gateway-tests-")
os.environ.setdefault("RUN_DIR", _RUN_DIR.name)
os.environ.setdefault("SECRET_KEY", "tests-only-and-long-enough-to-satisfy-every-check-of-the-framework")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MISSING_SERVERS] = []
    from django.conf import settings

    if settings.configured:  # not under `-p no:django`
        plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # slow on purpose elsewhere


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A `postgres` test on SQLite would prove nothing: it is skipped with the way to run it."""
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        return
    reason = "needs PostgreSQL: python -m tests.support.servers -- pytest ..."
    for item in items:
        if item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What is loaded by now stays: to look through all of it again and again takes a fifteenth of a run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from tests.support.sharing_out import ByService

    return ByService(config, log)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    problems: list[str] = config.stash[MISSING_SERVERS]
    for missing in sorted(set(problems)):
        terminalreporter.write_line(f"SKIPPED FOR WANT OF A SERVER: {missing}", red=True, bold=True)


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis that belongs to this run alone: tests may empty, stop and kill it (and must start it again)."""
    try:
        with running(RedisServer) as server:
            yield server
    except ServerMissing as missing:
        _without(request, str(missing))


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis."""
    redis_server.forget_all()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL apart from the one that Django's tests use, for tests that start whole services."""
    try:
        with running(PostgresServer) as server:
            yield server
    except ServerMissing as missing:
        _without(request, str(missing))


@pytest.fixture
def project_folder() -> Path:
    return Path(__file__).resolve().parents[2]


def _without(request: pytest.FixtureRequest, problem: str) -> None:
    request.config.stash[MISSING_SERVERS].append(problem)
    if servers_required():
        pytest.fail(problem)
    pytest.skip(problem)
