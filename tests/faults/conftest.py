"""The servers and the service of the fault tests, and the table of proofs at the end of a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.scene import Scene, Servers, long_run, prepare, stage
from tests.support.servers import PostgresServer, RedisServer, running

FIGURES = ("seed", "tries", "admitted", "refused", "captured", "released", "audit")
VERSIONS = ("django", "psycopg", "redis", "celery", "kombu", "gunicorn")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long set runs by `make test-faults` alone."""
    if long_run():
        return
    left_out = [item for item in items if item.get_closest_marker("faults")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with (
        running(lambda: PostgresServer(durable=True)) as postgres,
        running(lambda: RedisServer(durable=True)) as broker,
    ):
        yield prepare(postgres, broker, tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def test_database(alice: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Children find the database of this test, and no limit but the one that is tried."""
    from django.db import connection

    from billing.models import Wallet

    settings = connection.settings_dict
    password = f":{settings['PASSWORD']}" if settings["PASSWORD"] else ""
    url = f"postgres://{settings['USER']}{password}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("REDIS_URL", raising=False)
    Wallet.objects.filter(pk=alice.account.pk).update(
        overrides={"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": 0}
    )
    return os.environ["DATABASE_URL"]


@pytest.fixture(scope="module")
def scene(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    name = request.module.__name__.rpartition(".")[2]
    with stage(servers, tmp_path_factory.mktemp(name), database=name, **getattr(request.module, "ENV", {})) as ready:
        yield ready


@pytest.fixture
def report(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Keeps figures of this test for the table."""

    def keep(**figures: Any) -> None:
        for name, value in figures.items():
            record_property(name, value)

    return keep


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines, controls, proofs = [], defaultdict(list), defaultdict(list)
    for outcome in ("passed", "failed", "error"):
        for test in terminalreporter.stats.get(outcome, []):
            facts = dict(getattr(test, "user_properties", []))
            name = test.nodeid.rpartition("::")[2]
            for marker, found in (("control", controls), ("proves", proofs)):
                for invariant in facts.get(marker, "").split():
                    found[invariant].append((name, outcome))
            if "tries" in facts:
                figures = "  ".join(f"{figure} {facts.get(figure, '-')}" for figure in FIGURES)
                lines.append(f"{facts.get('proves', ''):<8} {name}: {figures}  {outcome}")
    if not proofs and not controls:
        return
    terminalreporter.section("proofs")
    terminalreporter.write_line(versions())
    for line in lines:
        terminalreporter.write_line(line)
    for invariant in sorted({*proofs, *controls}, key=lambda name: int(name[1:])):
        terminalreporter.write_line(
            f"{invariant:<4} proofs {_count(proofs[invariant])}; negative controls caught {_count(controls[invariant])}"
        )


def _count(found: list[tuple[str, str]]) -> str:
    return f"{sum(outcome == 'passed' for _, outcome in found)} of {len(found)}"


def versions() -> str:
    installed = " ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    return f"python {platform.python_version()} {installed}"
