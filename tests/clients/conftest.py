"""One running service for all client programs: real processes, a renderer that draws flat pictures at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from tests.support.service import Service, running_service

# The library's schemas are written for an older pydantic, which warns when they are first read.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import modelslab_py.schemas.community
    import modelslab_py.schemas.image_editing
    import modelslab_py.schemas.realtime  # noqa: F401


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("clients"), env={"WEB_THREADS": "12"}) as running:
        yield running


@pytest.fixture(scope="session")
def key(service: Service) -> str:
    """The key of an account that no limit stops."""
    made = service.manage("account_create", "client@example.org", "--plan", "enterprise", "--funds", "100")
    return made.stdout.strip().splitlines()[-1]
