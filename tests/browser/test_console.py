"""The operator's console in Chromium: invented traffic, no fault that axe knows, one screen for the first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import NewPage
from tests.browser.looks import Tour
from tests.support.service import Service

PATHS = (
    "/console",
    "/console/usage?range=30d&metric=money&group=account",
    "/console/customers",
    "/console/customers/2",
    "/console/requests",
    "/console/workers",
    "/console/workers/demo-fleet",
    "/console/queue",
    "/console/models",
    "/console/models/import",
    "/console/models/demo/edit",
    "/console/prices/sd15",
    "/console/revenue",
    "/console/money",
    "/console/payments",
    "/console/announcements",
    "/console/settings",
    "/console/staff-actions",
    "/console/staff",
    "/console/webhooks",
)


@pytest.fixture(scope="module")
def operator(browser: Browser, service: Service) -> dict[str, Any]:
    """The operator of a local installation, logged in, with a week of traffic to look at."""
    facts = json.loads(service.manage("demo_account").stdout)
    service.manage("demo_traffic", "--days", "7", "--calls-per-day", "25")
    context = browser.new_context(base_url=service.url)
    page = context.new_page()
    page.goto("/accounts/login/")
    page.fill("input[name=login]", facts["admin_email"])
    page.fill("input[name=password]", facts["admin_password"])
    page.click("main form button:has-text('Log in')")
    page.wait_for_url("**/dashboard**")
    state = context.storage_state()
    context.close()
    return dict(state)


@pytest.mark.parametrize("path", PATHS)
def test_every_page_of_the_console(tour: Tour, operator: dict[str, Any], path: str) -> None:
    assert tour.faults(path, reader="operator", widths_px=(1440, 360), storage_state=operator) == []


def test_the_first_screen_needs_no_scrolling(new_page: NewPage, operator: dict[str, Any]) -> None:
    page = new_page(width_px=1440, height_px=900, storage_state=operator)
    page.goto("/console")
    page.evaluate("document.fonts.ready.then(() => true)")
    assert page.evaluate("document.documentElement.scrollHeight") <= 900


def test_funds_are_granted_from_the_first_screen_on_without_a_script(
    new_page: NewPage, operator: dict[str, Any]
) -> None:
    page = new_page(width_px=1280, storage_state=operator, scripts=False)
    page.goto("/console")
    page.click("table:has(caption:has-text('Top customers')) tbody a >> nth=0")
    page.click("summary:has-text('Grant funds')")
    page.fill("input[name=grant-amount]", "5")
    page.fill("input[name=grant-reason]", "thanks for the report")
    page.click("button:has-text('Grant')")
    expect(page.locator("text=The funds are granted.")).to_have_count(1)
    page.goto("/console/staff-actions")
    expect(page.locator("td:has-text('thanks for the report')")).to_have_count(1)
    page.goto("/console/money")
    page.click("button:has-text('Prove the books now')")
    expect(page.locator("[role=status] >> text=0 differences.")).to_have_count(1)
