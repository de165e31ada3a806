"""Pages remember in Django's cache: limits at the door, sent codes, the status. Each test starts without."""

from __future__ import annotations

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()
