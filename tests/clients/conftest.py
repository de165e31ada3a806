"""One running service for all client programs: real processes, a renderer that draws flat pictures at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from tests.support import tiny_shop
from tests.support.service import Service, running_service

# The library's schemas are written for an older pydantic, which warns when they are first read.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import modelslab_py.schemas.community
    import modelslab_py.schemas.image_editing
    import modelslab_py.schemas.realtime  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/clients/" in str(item.path):
            item.add_marker(pytest.mark.service)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("clients"), env={"WEB_THREADS": "12"}) as running:
        yield running


@pytest.fixture(scope="session")
def key(service: Service) -> str:
    return _key(service)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that really draws, with one tiny model of every kind."""
    run_dir, models = tmp_path_factory.mktemp("studio"), tmp_path_factory.mktemp("models")
    tiny_shop.files(models)
    # Previews are rare by default: on a busy machine a short render would show one alone.
    env = {"WEB_THREADS": "12", "MODEL_DIR": str(models), "DEFAULT_MODEL_ID": "tiny", "RENDER_PREVIEW_PERCENT": "60"}
    with running_service(run_dir, env=env, real_engine=True) as running:
        running.manage("shell", "-c", tiny_shop.FILL_COMMAND)
        yield running


@pytest.fixture(scope="session")
def studio_key(studio: Service) -> str:
    return _key(studio)


def _key(service: Service) -> str:
    """The key of an account that no limit stops."""
    made = service.manage("account_create", "client@example.org", "--plan", "enterprise", "--funds", "100")
    return made.stdout.strip().splitlines()[-1]
