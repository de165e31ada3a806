"""Each scenario twice: at the stand-in, and at Stripe's test mode, which is skipped in red where there is no key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.billing.scenarios.targets import KEY, Target, at_stripe, at_the_stand_in, key_of_test_mode
from tests.support.stripe import differences

REASON = f"{KEY} is not set"


@pytest.fixture(
    params=[
        "sandbox",
        pytest.param("stripe", marks=[pytest.mark.stripe, pytest.mark.enable_socket, pytest.mark.timeout(1_800)]),
    ]
)
def target(request: pytest.FixtureRequest, alice: Any, settings: Any) -> Iterator[Target]:
    if request.param == "sandbox":
        with at_the_stand_in(settings) as found:
            yield found
    elif key := key_of_test_mode():
        with at_stripe(settings, key) as found:
            yield found
    else:
        pytest.skip(REASON)
    assert differences() == []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if REASON in str(report.longrepr)]
    if skipped:
        line = f"NOT SHOWN AT STRIPE: {len(skipped)} scenarios ran at the stand-in alone, as {REASON}."
        terminalreporter.write_line(line, red=True, bold=True)
