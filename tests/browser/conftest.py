"""Chromium against the whole service: every page that a test opens is watched for policy violations, script errors and
requests to other hosts.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.looks import Tour, Watch
from tests.support.service import Service, running_service
from tools.screenshots import ARGUMENTS, CHROMIUM

PASSWORD = "an old sentence is a good password"
expect.set_options(timeout=15_000)  # as long as pages wait for anything else: machines may be busy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason=f"needs Chromium at {CHROMIUM}")
    for item in items:
        if "tests/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.service)
            if not Path(CHROMIUM).exists():
                item.add_marker(skip)


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with an engine that draws flat pictures, and static files collected as in production."""
    run_dir = tmp_path_factory.mktemp("browser")
    env = {
        "INSTANT_RENDER_S": "0.6",
        "WEB_THREADS": "40",
        "SIGNUP_RATE": "1000/h",
    }
    with running_service(run_dir, env=env, pages=True) as running:
        yield running


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium for the tests of this folder and no longer.

    While Playwright's synchronous API is open, its event loop counts as running in this thread: any other test of the
    same process that used asyncio or, as Django guards it, the database, would fail for where it stands in the order.
    """
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(browser: Browser, service: Service) -> Iterator[NewPage]:
    """Pages of fresh contexts. The test fails when any of them broke the policy, threw, or asked another host."""
    watch = Watch(service.url)
    contexts: list[BrowserContext] = []

    def make(
        *, width_px: int = 1280, height_px: int = 900, theme: str = "system", scripts: bool = True, **more: Any
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width_px, "height": height_px},
            java_script_enabled=scripts,
            base_url=service.url,
            **more,
        )
        context.add_cookies([{"name": "theme", "value": theme, "url": service.url}])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        watch.attach(page)
        return page

    yield make
    for context in contexts:
        context.close()
    assert watch.problems == []


@pytest.fixture(scope="package")
def tour(browser: Browser, service: Service) -> Iterator[Tour]:
    tour = Tour(browser, service.url)
    yield tour
    tour.close()


def code_mailed(service: Service, email: str) -> str:
    """The code in the mail to this new address: mails to others may come between, and one may be half written."""
    folder = Path(service.run_dir) / "mail"
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for mail in folder.glob("*"):
            text = mail.read_text()
            code = re.search(r"^(\d{6})\r?$", text, re.MULTILINE)
            if f"To: {email}\n" in text.replace("\r\n", "\n") and code:
                return code[1]
        time.sleep(0.1)
    raise TimeoutError(f"No code was mailed to {email}.")


def sign_up(page: Page, service: Service, email: str) -> None:
    """From the form over the code of the mail to the page that shows the first key."""
    page.goto("/accounts/signup/")
    page.fill("input[name=email]", email)
    page.fill("input[name=password1]", PASSWORD)
    page.click("main button:has-text('Make the account')")
    page.wait_for_url("**/confirm-email/**")
    page.fill("input[name=code]", code_mailed(service, email))
    page.click("main button:has-text('Confirm')")
    page.wait_for_url("**/dashboard**")


def log_in(page: Page, email: str) -> None:
    page.goto("/accounts/login/")
    page.fill("input[name=login]", email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form button:has-text('Log in')")
    page.wait_for_url("**/dashboard**")


@pytest.fixture(scope="package")
def customer(browser: Browser, service: Service) -> dict[str, Any]:
    """One signed-up customer with a key and a picture: the state in which pages are looked at."""
    email = "customer@example.org"
    context = browser.new_context(base_url=service.url)
    page = context.new_page()
    page.set_default_timeout(15_000)
    sign_up(page, service, email)
    key = page.locator(".key-once code").inner_text()
    reply = call(service, key, {"model_id": "demo", "prompt": "a red circle on a blue background", "seed": 7})
    page.goto(f"/dashboard/requests/{reply['id']}")
    page.click("main button:has-text('Share')")
    page.click("dialog button:has-text('Share')")
    link = page.locator("section[aria-labelledby=link-title] code").inner_text()
    page.goto("/dashboard/gallery")
    page.locator("main .star").first.click()
    page.wait_for_selector("main .star[aria-pressed=true]")
    state = context.storage_state()
    context.close()
    return {"email": email, "key": key, "generation_id": reply["id"], "link": link, "state": state}


def call(service: Service, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """One call of the API, as any program makes it."""
    request = urllib.request.Request(
        f"{service.url}/api/v7/images/text-to-image",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=40) as response:
        reply: dict[str, Any] = json.load(response)
    return reply


def shell(command: str) -> str:
    """What a customer does with a copied line: paste it into a shell."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
