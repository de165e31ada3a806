"""How amounts, spans and moments read. A balance never shows more than there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from gateway.templatetags import units

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("amount_microusd", "text"),
    [
        (0, "$0.00"),
        (12_345_678, "$12.34"),
        (9_999_999, "$9.99"),
        (-2_500_000, "\N{MINUS SIGN}$2.50"),
        (-1, "$0.00"),
        (1_234_567_890_000, "$1,234,567.89"),
        (None, "–"),
    ],
)
def test_balances_have_cents_and_are_cut(amount_microusd: int | None, text: str) -> None:
    assert units.money(amount_microusd) == text


@pytest.mark.parametrize(
    ("amount_microusd", "text"),
    [
        (2_000, "$0.0020"),
        (4_700, "$0.0047"),
        (4_701, "$0.004701"),
        (0, "$0.00"),
        (47_000_000, "$47.00"),
        (1_234_500, "$1.2345"),
    ],
)
def test_prices_are_exact(amount_microusd: int, text: str) -> None:
    assert units.price(amount_microusd) == text


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_a_price_loses_no_micro_dollar(amount_microusd: int) -> None:
    text = units.price(amount_microusd).replace(",", "").replace("\N{MINUS SIGN}", "-").replace("$", "")
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.lstrip("-").partition(".")
    assert sign * (int(whole) * 1_000_000 + int(fraction.ljust(6, "0"))) == amount_microusd


def test_a_small_spend_never_reads_as_nothing() -> None:
    assert units.spent(4_700) == "$0.0047"
    assert units.spent(4_700_000) == "$4.70"


@pytest.mark.parametrize(
    ("value_ms", "text"), [(0, "0 ms"), (840, "840 ms"), (2_300, "2.3 s"), (95_000, "1 min 35 s"), (None, "–")]
)
def test_measured_times_take_their_largest_units(value_ms: int | None, text: str) -> None:
    assert units.ms(value_ms).replace(NBSP, " ") == text


@pytest.mark.parametrize(("share", "text"), [(1, "100 %"), (0.99999, "> 99.99 %"), (0, "0 %"), (0.00001, "< 0.01 %")])
def test_a_share_is_whole_only_when_it_is(share: float, text: str) -> None:
    assert units.percent(share).replace(NBSP, " ") == text


def test_a_moment_names_the_zone_and_keeps_utc_for_machines() -> None:
    moment = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    with timezone.override(ZoneInfo("Asia/Kathmandu")):
        text = str(units.when(moment))
    assert 'datetime="2026-11-21T23:30:00Z"' in text
    assert "22 Nov 2026, 05:15" in text
    assert "UTC+05:45" in text


def test_an_unknown_zone_is_utc() -> None:
    assert units.zone("Middle/Earth").key == "UTC"


def test_ago_says_when_something_is_still_to_come() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert "in 2" in str(units.ago(now + timedelta(hours=2), now))
    assert "in 1 day<" in str(units.ago(now + timedelta(days=1), now))
    assert units.ago(None) == "never"


def test_days_have_their_case_in_german() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    with translation.override("de"):
        assert "vor 3 Tagen<" in str(units.ago(now - timedelta(days=3), now))
        assert "vor 1 Tag<" in str(units.ago(now - timedelta(days=1), now))
        assert units.seconds(90_000).replace(NBSP, " ") == "1 T 1 h"


def test_bytes_take_the_largest_unit() -> None:
    assert units.bytes_size(1536).replace(NBSP, " ") == "1.5 KiB"
    assert units.bytes_size(12).replace(NBSP, " ") == "12 B"
