"""Security keys from adding to removing, and what a page says when a passkey cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import PASSWORD, NewPage, sign_up
from tests.support.service import Service


@pytest.mark.parametrize(("language", "words"), [("en", "need a domain name"), ("de", "brauchen einen Domainnamen")])
def test_at_an_ip_address_the_page_says_what_passkeys_need(new_page: NewPage, language: str, words: str) -> None:
    page = new_page(locale=language)
    page.goto("/accounts/login/")
    for _ in range(2):
        page.click("#passkey_login")
        expect(page.get_by_role("alert")).to_have_count(1)
        expect(page.get_by_role("alert")).to_contain_text(words)


@pytest.fixture
def device(browser: Browser, service: Service) -> Iterator[Page]:
    """A page at localhost, on a device that holds passkeys and asks nobody for a fingerprint."""
    context: BrowserContext = browser.new_context(base_url=f"http://localhost:{service.port}")
    page = context.new_page()
    page.set_default_timeout(15_000)
    tools = context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
    }
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield page
    context.close()


def test_at_localhost_one_is_asked_for(device: Page) -> None:
    device.goto("/accounts/login/")
    device.click("#passkey_login")
    expect(device.get_by_role("alert")).to_contain_text("No passkey was used")


def test_a_key_is_added_opens_the_account_and_is_removed(device: Page, service: Service) -> None:
    sign_up(device, service, "passkey@example.org")
    device.goto("/accounts/2fa/webauthn/add/")
    device.fill("main input[name=password]", PASSWORD)
    device.click("main button:has-text('Go on')")
    device.fill("main input[name=name]", "The red key")
    device.click("#mfa_webauthn_add")
    device.wait_for_url("**/recovery-codes/")
    device.context.clear_cookies()
    device.goto("/accounts/login/")
    device.fill("input[name=login]", "passkey@example.org")
    device.fill("input[name=password]", PASSWORD)
    device.click("main form button:has-text('Log in')")
    device.click("main button:has-text('Use a security key')")
    device.wait_for_url("**/dashboard**")
    device.goto("/accounts/2fa/webauthn/")
    device.click("main a:has-text('Rename')")
    device.click("main a:has-text('Use a security key')")
    device.click("main button:has-text('Use a security key')")
    device.fill("main input[name=name]", "The blue key")
    device.click("main button:has-text('Save')")
    expect(device.locator("main li")).to_contain_text("The blue key")
    device.click("main a:has-text('Remove')")
    device.click("main button:has-text('Remove it')")
    expect(device.locator("main")).to_contain_text("There is none yet.")
