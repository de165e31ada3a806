"""From the playground's result to a stranger's screen and back; the gallery by keyboard; German pages for axe."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage, sign_up
from tests.browser.looks import Tour
from tests.support.service import Service


def test_a_result_is_shared_seen_revoked_and_deleted(new_page: NewPage, service: Service) -> None:
    page = new_page()
    sign_up(page, service, "share@example.org")
    page.goto("/models/local/demo")
    page.fill("textarea[name=prompt]", "a lonely tree")
    page.click("[data-run]")
    expect(page.locator("[data-pictures] img")).to_have_count(1)
    page.locator("[data-pictures] button", has_text="Share").click()
    expect(page.locator("dialog .button-danger")).to_have_count(0)
    page.locator("dialog button", has_text="Make the link").click()
    link = page.locator("[data-pictures] a", has_text="Shared link").get_attribute("href")
    assert link
    stranger = new_page()
    stranger.goto(link)
    expect(stranger.locator("main")).to_contain_text("a lonely tree")
    picture = stranger.locator("main figure img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    stranger.click("text=Try these settings")
    expect(stranger.locator("textarea[name=prompt]")).to_have_value("a lonely tree")
    other = new_page(storage_state=page.context.storage_state())
    other.goto("/dashboard/shares")
    other.locator("main button", has_text="Revoke").click()
    other.locator("dialog .button-danger", has_text="Revoke").click()
    expect(other.locator("main")).to_contain_text("Nothing is shared")
    gone = stranger.goto(link)
    assert gone is not None
    assert gone.status == 404
    for again in ("Undo", ""):
        page.locator("[data-pictures] button", has_text="Delete").click()
        expect(page.locator("[data-pictures] img")).to_be_hidden()
        if again:
            page.locator("[data-pictures] button", has_text=again).click()
            expect(page.locator("[data-pictures] img")).to_be_visible()


def test_enter_in_the_collection_s_name_puts_the_chosen_in(new_page: NewPage, customer: dict[str, Any]) -> None:
    page = new_page(storage_state=customer["state"])
    page.goto("/dashboard/gallery")
    page.locator("main input[name=id]").first.check()
    page.fill("#collection-name", "By keyboard")
    page.press("#collection-name", "Enter")
    page.wait_for_url("**/dashboard/gallery?collection=*")
    expect(page.locator("main nav [aria-current=true]")).to_contain_text("By keyboard")


_MORE_CALLS = """
from gateway.dashboard.gallery import PER_PAGE
from inference.models import Generation
newest = Generation.objects.filter(pk={generation_id}).get()
for _ in range(PER_PAGE + 1):
    newest.pk -= 1
    newest.save(force_insert=True)
print(PER_PAGE, Generation.objects.filter(account_id=newest.account_id, images_delivered__gt=0).count())
"""


def test_scrolling_down_brings_older_pictures(new_page: NewPage, service: Service, customer: dict[str, Any]) -> None:
    script = _MORE_CALLS.format(generation_id=customer["generation_id"])
    per_page, calls = map(int, service.manage("shell", "-v", "0", "-c", script).stdout.split())
    assert per_page < calls < 2 * per_page
    page = new_page(storage_state=customer["state"])
    page.goto("/dashboard/gallery")
    tiles = page.locator("main .tile")
    assert tiles.count() == per_page
    page.locator("[data-more]").scroll_into_view_if_needed()
    expect(tiles).to_have_count(calls)
    expect(page.locator("[data-more]")).to_have_count(0)
    assert tiles.last.locator("input[name=id]").evaluate("box => box.form.action").endswith("/dashboard/gallery.zip")
    page.locator("nav.pagination a[rel=next]").click()
    expect(tiles).to_have_count(calls - per_page)


@pytest.mark.parametrize("path", ["/accounts/signup/", "/accounts/password/reset/", "/accounts/login/code/"])
def test_the_german_entrance(tour: Tour, path: str) -> None:
    assert tour.faults(path, reader="German visitor", locale="de-DE") == []


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/usage", "/dashboard/team"])
def test_german_pages_of_an_account(tour: Tour, customer: dict[str, Any], path: str) -> None:
    german = {"locale": "de-DE", "storage_state": customer["state"]}
    assert tour.faults(path, reader="German customer", **german) == []
