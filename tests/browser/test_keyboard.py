"""Everything without a pointer: all controls are reached by Tab in the document's order, each shows that it has the
focus, what opens closes with Escape and gives the focus back, and nothing that renews or hides takes it away.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, NewPage, sign_up
from tests.support.service import Service

FOCUS_SEEN = (Path(__file__).parent / "focus_seen.js").read_text()
STOPS_MAX = 400
# Controls that Tab must reach. Of radio buttons that belong together it reaches one; arrow keys lead to the others.
MISSED = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter((one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility({ visibilityProperty: true }))
  .filter((one) => !(one.type === "radio" && !one.checked) && one.type !== "hidden" && !window.focusOrder.has(one))
  .map((one) => one.outerHTML.slice(0, 90))"""
ORDER = """() => {
  const seen = [...window.focusOrder.keys()];
  return seen.filter((one, at) => at && !(seen[at - 1].compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING))
    .map((one) => one.outerHTML.slice(0, 90));
}"""
PUBLIC = (
    "/",
    "/pricing",
    "/models",
    "/models/local/demo",
    "/playground/compare",
    "/docs/webhooks",
    "/status",
    "/limits",
    "/accounts/login/",
    "/accounts/signup/",
)
SIGNED_IN = (
    "/dashboard",
    "/dashboard/get-started",
    "/dashboard/keys",
    "/dashboard/keys/new",
    "/models/local/demo",
    "/dashboard/usage",
    "/dashboard/requests",
    "/dashboard/requests/{generation_id}",
    "/dashboard/gallery",
    "/dashboard/shares",
    "/dashboard/billing",
    "/dashboard/webhooks",
    "/dashboard/team",
    "/dashboard/profile",
    "/accounts/2fa/",
    "/accounts/sessions/",
)

NARROW_PUBLIC = (("/", 360), ("/models/local/demo", 360), ("/docs/webhooks", 360))
NARROW_SIGNED_IN = (("/dashboard", 360), ("/dashboard/gallery", 360), ("/dashboard/billing", 360))


def focused(page: Page) -> str:
    """What has the focus, as its text, its name or its id."""
    return str(
        page.evaluate(
            """() => {
              const e = document.activeElement;
              return e === document.body ? "" : (e.getAttribute("aria-label") || e.innerText || e.name || e.id).trim();
            }"""
        )
    )


def walk(page: Page) -> list[str]:
    """Tab through the whole page: what is wrong on the way."""
    faults = []
    for stop in range(STOPS_MAX):
        page.keyboard.press("Tab")
        seen = page.evaluate(FOCUS_SEEN)
        if seen is None or (stop and seen["n"] == 0):
            break
        # Of a field with parts (day, month...) the browser marks the part.
        if not seen["ring"] and not seen["partly"]:
            faults.append(f"{seen['name']}: no ring")
        if len(seen["cut"]) > 1:
            faults.append(f"{seen['name']}: the ring is cut at {seen['cut']}")
        if not seen["inSight"]:
            faults.append(f"{seen['name']}: something covers it")
    else:
        faults.append("there is no end: a trap")
    return [
        *faults,
        *(f"{one}: not reached" for one in page.evaluate(MISSED)),
        *(f"{one}: out of order" for one in page.evaluate(ORDER)),
    ]


class TestEveryControlIsReachedAndSeen:
    @pytest.mark.parametrize(("path", "width_px"), [*((path, 1280) for path in PUBLIC), *NARROW_PUBLIC])
    def test_on_a_public_page(self, new_page: NewPage, path: str, width_px: int) -> None:
        page = new_page(width_px=width_px)
        page.goto(path)
        assert walk(page) == []

    @pytest.mark.parametrize(("path", "width_px"), [*((path, 1280) for path in SIGNED_IN), *NARROW_SIGNED_IN])
    def test_on_an_account_s_page(self, new_page: NewPage, customer: dict[str, Any], path: str, width_px: int) -> None:
        page = new_page(width_px=width_px, storage_state=customer["state"])
        page.goto(path.format(**customer))
        assert walk(page) == []


def tab_to(page: Page, name: str) -> None:
    """By Tab alone to the control of this name."""
    for _ in range(STOPS_MAX):
        page.keyboard.press("Tab")
        if re.search(name, focused(page)):
            return
    raise AssertionError(f"Tab does not lead to {name}.")


class TestJourneys:
    def test_from_the_log_in_to_a_new_key(self, new_page: NewPage, customer: dict[str, Any]) -> None:
        page = new_page()
        page.goto("/accounts/login/")
        tab_to(page, "^login$")
        page.keyboard.type(customer["email"])
        tab_to(page, "^password$")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard**")
        tab_to(page, "^API keys$")
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard/keys")
        tab_to(page, "^New key$")
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard/keys/new")
        tab_to(page, "^name$")
        page.keyboard.type("By keyboard")
        page.keyboard.press("Enter")
        expect(page.locator(".key-once code")).to_be_visible()
        tab_to(page, "^Copy")
        page.keyboard.press("Enter")
        expect(page.locator("#announce")).to_have_text("Copied")
        assert focused(page).startswith("Copy")

    def test_the_theme_is_switched(self, new_page: NewPage) -> None:
        page = new_page()
        page.goto("/pricing")
        tab_to(page, "^Dark$")
        page.keyboard.press("Space")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert focused(page) == "Dark"

    def test_a_menu_opens_closes_and_lets_go(self, new_page: NewPage) -> None:
        page = new_page(width_px=360)
        page.goto("/pricing")
        menu = page.locator("details.menu")
        tab_to(page, "^Menu$")
        page.keyboard.press("Enter")
        tab_to(page, "^Docs$")
        page.keyboard.press("Escape")
        expect(menu).not_to_have_attribute("open", "")
        assert focused(page) == "Menu"
        page.keyboard.press("Enter")
        tab_to(page, "^Dark$")
        page.keyboard.press("Tab")
        expect(menu).not_to_have_attribute("open", "")

    def test_a_dialog_gives_the_focus_back(self, new_page: NewPage, customer: dict[str, Any]) -> None:
        page = new_page(storage_state=customer["state"])
        page.goto("/dashboard/keys")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        assert focused(page) == "Close"
        page.keyboard.press("Escape")
        tab_to(page, "^Roll First key$")
        page.keyboard.press("?")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert focused(page) == "Roll First key"

    def test_rows_that_renew_leave_the_focus(self, new_page: NewPage, customer: dict[str, Any]) -> None:
        page = new_page(storage_state=customer["state"])
        page.goto("/dashboard/requests")
        tab_to(page, f"^{customer['generation_id']}$")
        with page.expect_response(lambda answer: "hx-request" in answer.request.headers):
            pass
        page.wait_for_timeout(300)
        assert focused(page) == str(customer["generation_id"])


class TestThePlayground:
    def test_from_the_mode_to_the_picture_and_its_end(self, new_page: NewPage, service: Service) -> None:
        page = new_page()
        sign_up(page, service, "keyboard@example.org")
        page.goto("/models/local/demo")
        tab_to(page, "^operation$")
        page.keyboard.press("ArrowRight")
        expect(page.locator("[name=operation]:checked")).to_have_value("img2img")
        page.keyboard.press("ArrowLeft")
        tab_to(page, "^prompt$")
        page.keyboard.type("a red circle")
        tab_to(page, "^Generate$")
        page.keyboard.press("Enter")
        expect(page.locator("[data-pictures] img")).to_have_count(1)
        assert focused(page) == "Generate"
        tab_to(page, "^Share")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert focused(page).startswith("Share")
        page.keyboard.press("Enter")
        tab_to(page, "^Make the link$")
        page.keyboard.press("Enter")
        expect(page.locator("[data-pictures] a", has_text="Shared link")).to_be_focused()
        tab_to(page, "^Delete")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=re.compile("^Undo"))).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name=re.compile("^Delete"))).to_be_focused()

    def test_escape_closes_what_is_open_before_it_cancels(self, new_page: NewPage, service: Service) -> None:
        page = new_page()
        sign_up(page, service, "escape@example.org")
        page.goto("/models/local/demo")
        service.stop("render")
        try:
            tab_to(page, "^Generate$")
            page.keyboard.press("Enter")
            expect(page.locator("[data-phase]")).to_contain_text("In the queue")
            page.keyboard.press("?")
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)
            page.wait_for_timeout(1_500)
            expect(page.locator("[data-phase]")).to_contain_text("In the queue")
            tab_to(page, "^Cancel$")
            page.keyboard.press("Enter")
            expect(page.get_by_role("button", name="Try the same call again")).to_be_focused()
            page.keyboard.press("Enter")
            expect(page.locator("[data-cancel]")).to_be_focused()
            page.keyboard.press("Escape")
            expect(page.get_by_role("button", name="Try the same call again")).to_be_focused()
        finally:
            service.start("render")
            service.wait_ready()
