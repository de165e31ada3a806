from __future__ import annotations

import pytest

from tests.support.receiver import receiving


@pytest.fixture(autouse=True)
def opened(settings, tmp_path, monkeypatch):
    """The test's receiver lives on loopback, which a production gateway never sends to."""
    settings.ALLOW_PRIVATE_ADDRESSES = ["loopback"]
    monkeypatch.setenv("STORAGE_URL", f"file://{tmp_path}")


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server
