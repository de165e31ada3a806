"""Every page in both themes: no fault that axe knows, no sideways scrolling on a narrow screen, one h1."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import NewPage, axe_faults
from tools.screenshots import ENTRANCE, PUBLIC, SIGNED_IN

THEMES = ("light", "dark")
WIDTHS_PX = (1280, 360)
MORE_PUBLIC = (
    "/pricing?images=40000&per_call=4",
    "/playground/compare?model=demo&model=nothing",
    "/docs/search?q=zzzz",
)
MORE_SIGNED_IN = (
    "/models?task=text2img&sort=popular",
    "/dashboard/usage?range=24h&group=model_id&metric=money",
    "/dashboard/keys?archive=1",
    "/dashboard/requests?state=failed",
    "/dashboard/gallery?q=nothing",
    "/dashboard/shares?revoked=1",
    "/accounts/2fa/totp/activate/",
)


def faults_of(page: Any, width_px: int) -> list[str]:
    """What is wrong with the open page at this width."""
    page.set_viewport_size({"width": width_px, "height": 900})
    page.evaluate("document.fonts.ready.then(() => true)")
    faults = axe_faults(page)
    if page.locator("h1").count() != 1:
        faults.append(f"{page.locator('h1').count()} h1")
    scroll_px = page.evaluate("document.documentElement.scrollWidth")
    if scroll_px > width_px:
        faults.append(f"scrolls sideways, {scroll_px} px in {width_px}")
    return faults


def faults_everywhere(
    new_page: NewPage, path: str, *, widths_px: tuple[int, int] = WIDTHS_PX, **more: Any
) -> list[str]:
    """In both themes at both widths: opened wide and made narrow in the one, the other way round in the other."""
    faults = []
    for theme, widths in zip(THEMES, (widths_px, widths_px[::-1]), strict=True):
        page = new_page(theme=theme, width_px=widths[0], **more)
        page.goto(path)
        faults += [
            f"{path}, {width_px} px, {theme}: {fault}" for width_px in widths for fault in faults_of(page, width_px)
        ]
    return faults


@pytest.mark.parametrize("path", [*PUBLIC, *ENTRANCE, *MORE_PUBLIC])
def test_public_page(new_page: NewPage, path: str) -> None:
    assert faults_everywhere(new_page, path) == []


@pytest.mark.parametrize("path", [*SIGNED_IN, *MORE_SIGNED_IN, "/dashboard/requests/{generation_id}"])
def test_page_of_an_account(new_page: NewPage, customer: dict[str, Any], path: str) -> None:
    assert faults_everywhere(new_page, path.format(**customer), storage_state=customer["state"]) == []


def test_a_shared_link_as_a_stranger_sees_it(new_page: NewPage, customer: dict[str, Any]) -> None:
    assert faults_everywhere(new_page, customer["link"]) == []


def test_sizes_follow_the_reader_s_own_size_of_text(new_page: NewPage) -> None:
    page = new_page()
    page.goto("/")
    # Chromium's default; the text of pages is the token's share of it.
    assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "16px"
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "15px"


def test_faults_that_are_planted_are_found(new_page: NewPage) -> None:
    page = new_page(width_px=360)
    page.goto("/")
    assert faults_of(page, 360) == []
    page.evaluate(
        """() => {
          const main = document.querySelector("main");
          const heading = document.querySelector("h1");
          const text = document.createElement("p");
          text.append("hardly to be read");
          text.style.color = "rgb(200, 200, 200)";
          text.style.backgroundColor = "rgb(220, 220, 220)";
          main.append(text, heading.cloneNode(true), document.createElement("button"));
          main.style.minWidth = "700px";
        }"""
    )
    found = " ".join(faults_of(page, 360))
    for fault in ("color-contrast", "button-name", "2 h1", "scrolls sideways, 7"):
        assert fault in found
