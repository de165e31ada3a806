"""What a page says when a passkey cannot be used: browsers tell their scripts alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import NewPage
from tests.support.service import Service


@pytest.mark.parametrize(("language", "words"), [("en", "need a domain name"), ("de", "brauchen einen Domainnamen")])
def test_at_an_ip_address_the_page_says_what_passkeys_need(new_page: NewPage, language: str, words: str) -> None:
    page = new_page(locale=language)
    page.goto("/accounts/login/")
    for _ in range(2):
        page.click("#passkey_login")
        expect(page.get_by_role("alert")).to_have_count(1)
        expect(page.get_by_role("alert")).to_contain_text(words)


def test_at_localhost_one_is_asked_for(browser: Browser, service: Service) -> None:
    context = browser.new_context(base_url=f"http://localhost:{service.port}")
    page = context.new_page()
    # A device without a passkey: the browser gives up instead of waiting for a person.
    device = context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    page.goto("/accounts/login/")
    page.click("#passkey_login")
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used")
    context.close()
