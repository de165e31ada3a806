"""The colours of the visual language, measured: 4.5:1 for text, 3:1 for controls and series (WCAG 2.2)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.site.brand import contrast, stylesheet

TOKENS = Path(__file__).resolve().parents[2] / "static" / "css" / "tokens.css"
_PAIR = re.compile(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")
COLOURS = {name: (light, dark) for name, light, dark in _PAIR.findall(TOKENS.read_text())}
GROUNDS = ("ground", "surface", "sunken", "hover", "raised")
TEXTS = ("ink", "ink-2", "ink-3")


def test_the_tokens_were_read() -> None:
    assert len(COLOURS) > 25


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
class TestContrast:
    @pytest.mark.parametrize("ground", GROUNDS)
    @pytest.mark.parametrize("text", TEXTS)
    def test_text_is_read_on_every_ground(self, theme: int, ground: str, text: str) -> None:
        assert contrast(COLOURS[text][theme], COLOURS[ground][theme]) >= 4.5

    @pytest.mark.parametrize("ground", GROUNDS)
    def test_links_are_read_on_every_ground(self, theme: int, ground: str) -> None:
        assert contrast(COLOURS["accent"][theme], COLOURS[ground][theme]) >= 4.5

    @pytest.mark.parametrize("state", ["ok", "warn", "bad", "accent"])
    def test_badges_are_read_on_their_own_colour(self, theme: int, state: str) -> None:
        assert contrast(COLOURS[state][theme], COLOURS[f"{state}-soft"][theme]) >= 4.5

    @pytest.mark.parametrize(
        ("text", "ground"),
        [("on-action", "action"), ("on-action", "action-hover"), ("on-danger", "danger"), ("on-spark", "spark")],
    )
    def test_buttons_are_read(self, theme: int, text: str, ground: str) -> None:
        assert contrast(COLOURS[text][theme], COLOURS[ground][theme]) >= 4.5

    @pytest.mark.parametrize("number", range(1, 7))
    def test_series_stand_out_of_the_surface(self, theme: int, number: int) -> None:
        assert contrast(COLOURS[f"series-{number}"][theme], COLOURS["surface"][theme]) >= 3

    @pytest.mark.parametrize("ground", ["ground", "surface"])
    def test_the_edges_of_controls_are_seen(self, theme: int, ground: str) -> None:
        assert contrast(COLOURS["line-strong"][theme], COLOURS[ground][theme]) >= 3


class TestBrand:
    def test_an_operator_s_colours_replace_ours(self) -> None:
        css = stylesheet(accent=["#0b5d3b", "#7fe0b0"], spark="#ff5500")
        assert "--accent: light-dark(#0b5d3b, #7fe0b0);" in css
        assert "--on-spark: #1a1500" in css

    def test_what_is_no_colour_never_reaches_the_stylesheet(self) -> None:
        css = stylesheet(accent=["red;} body{display:none"], spark="url(//elsewhere)")
        assert css == ":root {  }\n"

    def test_black_on_white_is_twenty_one_to_one(self) -> None:
        assert contrast("#000000", "#ffffff") == pytest.approx(21)
