"""What people's systems ask for: paper, colours that the system chooses, no motion; and what a pointer is shown."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import NewPage

A4_PX = 718


def style(element: Locator, name: str) -> str:
    return str(element.evaluate("(element, name) => getComputedStyle(element)[name]", name))


def lightness(colour: str) -> float:
    """Of a computed colour, as in rgb(20, 23, 29): 0 is black."""
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 765


def test_paper_is_dark_on_light_without_the_screen_s_furniture(new_page: NewPage, customer: dict[str, Any]) -> None:
    page = new_page(theme="dark", width_px=A4_PX, storage_state=customer["state"])
    page.goto("/dashboard/requests")
    row = page.locator("tbody tr").first
    assert style(row, "display") == "block"  # on a screen of this width: one fact below the other
    page.emulate_media(media="print")
    assert lightness(style(page.locator("body"), "color")) < 0.2
    assert style(row, "display") == "table-row"
    for furniture in (".app-bar", ".app-nav", ".page-head .button"):
        expect(page.locator(furniture).first).to_be_hidden()


@pytest.mark.parametrize(
    ("path", "chosen", "other"),
    [
        ("/dashboard/usage?range=7d", ".segments [aria-current]", ".segments a:not([aria-current])"),
        ("/models/local/demo", ".segments label:has(:checked)", ".segments label:not(:has(:checked))"),
        ("/models/local/demo", "[data-size][aria-pressed=true]", "[data-size]:not([aria-pressed=true])"),
        ("/models/local/demo", ".theme [aria-pressed=true]", ".theme [aria-pressed=false]"),
    ],
)
def test_what_is_chosen_is_seen_in_the_system_s_colours(
    new_page: NewPage, customer: dict[str, Any], path: str, chosen: str, other: str
) -> None:
    page = new_page(storage_state=customer["state"], forced_colors="active", color_scheme="dark")
    page.goto(path)
    grounds = [style(page.locator(one).first, "backgroundColor") for one in (chosen, other)]
    assert grounds[0] != grounds[1]


def test_tabs_and_the_current_page_are_seen_so_too(new_page: NewPage, customer: dict[str, Any]) -> None:
    page = new_page(storage_state=customer["state"], forced_colors="active", color_scheme="dark")
    page.goto("/models/local/demo")
    tabs = [
        style(page.locator(f"#api [aria-selected={is_it}]").first, "borderBottomColor") for is_it in ("true", "false")
    ]
    assert tabs[0] != tabs[1]
    assert "underline" in style(page.locator(".app-nav [aria-current=page]"), "textDecorationLine")


def test_nothing_moves_for_who_wants_no_motion(new_page: NewPage) -> None:
    page = new_page(reduced_motion="reduce")
    page.goto("/pricing")
    assert style(page.locator(".button").first, "transitionProperty") in ("none", "all")
    assert style(page.locator(".button").first, "transitionDuration") == "0s"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pointer_is_answered_but_not_by_what_waits(new_page: NewPage, customer: dict[str, Any], theme: str) -> None:
    page = new_page(theme=theme, storage_state=customer["state"], reduced_motion="reduce")
    page.goto("/dashboard/requests")
    for element, what in (
        (page.locator("main .button").first, "backgroundColor"),
        (page.locator("main input").first, "borderColor"),
    ):
        before = style(element, what)
        element.hover()
        assert style(element, what) != before
    button = page.locator("main .button").first
    button.evaluate("button => button.setAttribute('aria-disabled', 'true')")
    page.mouse.move(0, 0)
    before = style(button, "backgroundColor")
    button.hover(force=True)
    assert style(button, "backgroundColor") == before
