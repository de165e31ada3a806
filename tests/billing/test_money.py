"""Money as integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import money


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_what_is_printed_parses_to_the_same_amount(amount_microusd):
    assert money.usd_parse(money.usd_text(amount_microusd)) == amount_microusd


@pytest.mark.parametrize(
    ("amount_microusd", "places", "text"),
    [(4_700, 4, "0.0047"), (4_700, 2, "0.0047"), (10_000_000, 2, "10.00"), (-1, 2, "-0.000001"), (5_000_000, 0, "5")],
)
def test_shown_amounts_are_never_cut(amount_microusd, places, text):
    assert money.usd_text(amount_microusd, places=places) == text


@pytest.mark.parametrize("text", ["NaN", "1e400", "Infinity", "0.0000001", "ten", ""])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="not an amount"):
        money.usd_parse(text)


def test_stripe_gets_whole_cents_only():
    assert money.cents_from_microusd(47_000_000) == 4_700
    with pytest.raises(ValueError, match="whole number of cents"):
        money.cents_from_microusd(4_700)
