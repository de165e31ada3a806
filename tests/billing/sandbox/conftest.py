"""A running stand-in Stripe and the real client. Every test ends with: no difference from the contract."""

from collections.abc import Callable, Iterator

import pytest
import stripe as stripe_library

from billing.sandbox import SandboxStripe
from tests.billing.sandbox.flows import Shop, real_client

START = 1_767_225_600  # 2026-01-01 00:00 UTC


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = float(START)

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(clock: Clock) -> Iterator[Callable[..., SandboxStripe]]:
    """Starts sandboxes that end with the test."""
    started: list[SandboxStripe] = []

    def begin(**options: object) -> SandboxStripe:
        started.append(SandboxStripe(**{"seed": 1, "now": clock, **options}).start())
        return started[-1]

    yield begin
    for found in started:
        found.stop()


@pytest.fixture
def stripe(start: Callable[..., SandboxStripe]) -> Iterator[SandboxStripe]:
    sandbox = start()
    yield sandbox
    assert sandbox.faults == []


@pytest.fixture
def client(stripe: SandboxStripe) -> stripe_library.StripeClient:
    return real_client(stripe)


@pytest.fixture
def shop(stripe: SandboxStripe, client: stripe_library.StripeClient) -> Shop:
    return Shop(stripe, client)
