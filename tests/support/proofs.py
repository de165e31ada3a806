"""Which invariants of docs/ledger.md a test shows, for the table that `make test-faults` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def what_it_shows(request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]) -> None:
    """Markers `proves` and `control` name invariants; the table that `make test-faults` prints is made of them."""
    for marker in ("proves", "control"):
        names = [name for mark in request.node.iter_markers(marker) for name in mark.args]
        if names:
            record_property(marker, " ".join(names))
