"""Every page in both themes: no fault that axe knows, no sideways scrolling on a narrow screen, one h1."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import NewPage
from tests.browser.looks import COLOURS, Tour, axe_faults, faults_of
from tools.screenshots import ENTRANCE, PUBLIC, SIGNED_IN

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


@pytest.mark.parametrize("path", [*PUBLIC, *ENTRANCE, *MORE_PUBLIC])
def test_public_page(tour: Tour, path: str) -> None:
    assert tour.faults(path) == []


@pytest.mark.parametrize("path", [*SIGNED_IN, *MORE_SIGNED_IN, "/dashboard/requests/{generation_id}"])
def test_page_of_an_account(tour: Tour, customer: dict[str, Any], path: str) -> None:
    assert tour.faults(path.format(**customer), reader="customer", storage_state=customer["state"]) == []


def test_a_shared_link_as_a_stranger_sees_it(tour: Tour, customer: dict[str, Any]) -> None:
    assert tour.faults(customer["link"]) == []


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
    assert "color-contrast" in " ".join(axe_faults(page, COLOURS))
