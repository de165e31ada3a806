"""Every page in both themes: no fault that axe knows, no sideways scrolling on a narrow screen, one h1."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import NewPage, axe_faults
from tools.screenshots import ENTRANCE, PUBLIC, SIGNED_IN

THEMES = ("light", "dark")
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
    "/accounts/password/change/",
    "/accounts/2fa/totp/activate/",
    "/accounts/3rdparty/",
)


def faults_of(page: Any, path: str, width_px: int) -> list[str]:
    page.goto(path)
    page.evaluate("document.fonts.ready.then(() => true)")
    faults = [f"{path}: {fault}" for fault in axe_faults(page)]
    if page.locator("h1").count() != 1:
        faults.append(f"{path}: {page.locator('h1').count()} h1")
    scroll_px = page.evaluate("document.documentElement.scrollWidth")
    if scroll_px > width_px:
        faults.append(f"{path}: scrolls sideways, {scroll_px} px in {width_px}")
    return faults


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width_px", [1280, 360])
def test_public_pages(new_page: NewPage, theme: str, width_px: int) -> None:
    page = new_page(theme=theme, width_px=width_px)
    assert [f for path in (*PUBLIC, *ENTRANCE, *MORE_PUBLIC) for f in faults_of(page, path, width_px)] == []


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width_px", [1280, 360])
def test_pages_of_an_account(new_page: NewPage, customer: dict[str, Any], theme: str, width_px: int) -> None:
    page = new_page(width_px=width_px, theme=theme, storage_state=customer["state"])
    paths = (*SIGNED_IN, *MORE_SIGNED_IN, f"/dashboard/requests/{customer['generation_id']}")
    assert [fault for path in paths for fault in faults_of(page, path, width_px)] == []
