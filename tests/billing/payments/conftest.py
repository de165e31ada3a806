"""A stand-in Stripe for every test here, and the proof of the books after each of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.sandbox import SandboxStripe
from tests.support.stripe import differences, shop


@pytest.fixture
def stripe(alice: Any, settings: Any) -> Iterator[SandboxStripe]:
    with shop(settings) as running:
        yield running
        assert differences() == []
