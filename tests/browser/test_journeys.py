"""What a customer does, from the first visit to a picture and a rolled key, with and without a script."""

from __future__ import annotations

import re
import urllib.error
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from tests.browser.conftest import PASSWORD, NewPage, call, log_in, shell, sign_up
from tests.browser.looks import axe_faults
from tests.support.service import Service


class TestTheFirstFiveMinutes:
    @pytest.mark.parametrize(("width_px", "height_px"), [(1280, 900), (360, 740)])
    def test_the_copied_call_makes_the_picture_appear_on_the_page(
        self, new_page: NewPage, service: Service, width_px: int, height_px: int
    ) -> None:
        page = new_page(width_px=width_px, height_px=height_px)
        sign_up(page, service, f"first-{width_px}@example.org")
        expect(page).to_have_url(re.compile("/dashboard/get-started"))
        expect(page.get_by_text("Waiting for your call")).to_be_visible()
        line = page.locator("[data-language=curl] code").inner_text()
        assert page.locator(".key-once code").inner_text() in line
        assert '"success"' in shell(line)
        picture = page.locator("figure.frame img")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")

    def test_without_a_script_the_picture_appears_and_the_key_stays_in_sight(
        self, new_page: NewPage, service: Service
    ) -> None:
        page = new_page(scripts=False)
        sign_up(page, service, "plain@example.org")
        key = page.locator(".key-once code").inner_text()
        call(service, key, {"model_id": "demo", "prompt": "a green square"})
        expect(page.frame_locator("iframe").locator("figure img")).to_be_visible()
        assert page.locator(".key-once code").inner_text() == key

    def test_the_key_is_gone_after_a_reload(self, new_page: NewPage, service: Service) -> None:
        page = new_page()
        sign_up(page, service, "reload@example.org")
        key = page.locator(".key-once code").inner_text()
        page.reload()
        expect(page.locator(".key-once")).to_have_count(0)
        assert key not in page.content()


class TestKeys:
    def test_a_key_is_shown_once_and_works_until_it_is_revoked(self, new_page: NewPage, service: Service) -> None:
        page = new_page()
        sign_up(page, service, "keys@example.org")
        page.goto("/dashboard/keys/new")
        page.fill("input[name=name]", "Batch jobs")
        page.fill("input[name=budget]", "12.50")
        page.click("button:has-text('Make the key')")
        key = page.locator(".key-once code").inner_text()
        assert call(service, key, {"model_id": "demo", "prompt": "a circle"})["status"] == "success"
        page.goto("/dashboard/keys")
        assert key not in page.content()
        page.get_by_role("link", name="Revoke Batch jobs").click()
        page.click("button:has-text('Revoke the key')")
        page.wait_for_timeout(1000)
        with pytest.raises(urllib.error.HTTPError) as refusal:
            call(service, key, {"model_id": "demo", "prompt": "a circle"})
        assert refusal.value.code == 401
        refusal.value.close()

    def test_a_rolled_key_and_its_successor_both_work_in_the_grace(self, new_page: NewPage, service: Service) -> None:
        page = new_page()
        sign_up(page, service, "roll@example.org")
        old = page.locator(".key-once code").inner_text()
        page.goto("/dashboard/keys")
        page.get_by_role("link", name="Roll First key").click()
        page.click("button:has-text('Roll the key')")
        new = page.locator(".key-once code").inner_text()
        assert new != old
        for key in (old, new):
            assert call(service, key, {"model_id": "demo", "prompt": "a circle"})["status"] == "success"
        page.goto("/dashboard/keys")
        expect(page.get_by_text("In grace")).to_be_visible()


class TestThePlayground:
    def test_a_picture_is_made_with_the_settings_and_the_code_follows(
        self, new_page: NewPage, service: Service
    ) -> None:
        page = new_page()
        sign_up(page, service, "play@example.org")
        page.goto("/models/local/demo")
        page.fill("textarea[name=prompt]", "a green square on a yellow background")
        page.fill("input[name=samples]", "2")
        expect(page.locator("[data-total]")).to_have_text("$0.0040")
        expect(page.locator("#api [data-language=curl]")).to_contain_text("a green square on a yellow background")
        page.keyboard.press("Control+Enter")
        expect(page.locator("[data-pictures] img")).to_have_count(2)
        expect(page.locator("[data-pictures] figcaption").first).to_contain_text("seed")

    def test_on_a_narrow_screen_the_picture_comes_into_sight(self, new_page: NewPage, customer: dict[str, Any]) -> None:
        page = new_page(storage_state=customer["state"], width_px=360, height_px=740)
        page.goto("/models/local/demo")
        page.fill("textarea[name=prompt]", "a white heart on a black background")
        expect(page.locator("[data-out]")).not_to_be_in_viewport()
        page.click("[data-run]")
        picture = page.locator("[data-pictures] figure img").first
        expect(picture).to_be_visible()
        expect(picture).to_be_in_viewport(ratio=0.8)
        page.goto("/playground/compare?model=demo&seed=1&prompt=a+red+circle")
        page.click("[data-run]")
        expect(page.locator("[data-column] img")).to_be_in_viewport(ratio=0.8)

    def test_a_picture_is_seen_becoming_until_its_call_ends(self, new_page: NewPage, customer: dict[str, Any]) -> None:
        page = new_page(storage_state=customer["state"])
        page.goto("/models/local/demo")
        page.fill("textarea[name=prompt]", "a red circle, drawn slowly")
        page.click("[data-run]")
        becoming = page.locator("[data-becoming] img")
        expect(becoming).to_be_visible()
        assert "preview.jpg?step=" in (becoming.get_attribute("src") or "")
        assert becoming.evaluate("image => image.complete && image.naturalWidth > 0")
        expect(page.locator("[data-detail]")).to_contain_text("Step 10 of 20")
        page.locator("[data-cancel]").click()
        expect(page.locator("[data-fault]")).to_contain_text("cancelled")
        expect(becoming).to_be_hidden()

    @pytest.mark.parametrize("scripts", [True, False])
    def test_a_visitor_logs_in_and_finds_the_form_as_it_was(
        self, new_page: NewPage, service: Service, customer: dict[str, str], scripts: bool
    ) -> None:
        page = new_page(scripts=scripts)
        page.goto("/models/local/demo")
        page.fill("textarea[name=prompt]", "a violet star")
        page.click("[data-run]")
        page.wait_for_url("**/accounts/login/**")
        page.fill("input[name=login]", customer["email"])
        page.fill("input[name=password]", PASSWORD)
        page.click("main form button:has-text('Log in')")
        page.wait_for_url("**/models/local/demo**")
        expect(page.locator("textarea[name=prompt]")).to_have_value("a violet star")

    def test_a_picture_is_recalled_used_as_input_and_its_mask_drawn(self, new_page: NewPage, service: Service) -> None:
        page = new_page()
        sign_up(page, service, "mask@example.org")
        page.goto("/models/local/demo")
        page.fill("textarea[name=prompt]", "a lonely tree")
        page.locator("summary", has_text="Advanced").click()
        page.fill("input[name=num_inference_steps]", "7")
        page.click("[data-run]")
        expect(page.locator("[data-pictures] img")).to_have_count(1)
        expect(page.locator("#api [data-language=response]")).to_contain_text('"status": "success"')
        expect(page).to_have_url(re.compile(r"job=\d+"))
        page.reload()
        expect(page.locator("textarea[name=prompt]")).to_have_value("a lonely tree")
        expect(page.locator("input[name=num_inference_steps]")).to_have_value("7")
        page.get_by_role("button", name=re.compile("^Use this picture")).click()
        page.locator("label", has_text="Inpaint").click()
        canvas = page.locator("[data-draw] canvas")
        canvas.scroll_into_view_if_needed()
        canvas.drag_to(canvas, source_position={"x": 30, "y": 30}, target_position={"x": 90, "y": 70})
        expect(page.locator("[data-picture=mask_image] [data-preview]")).to_be_visible()
        page.click("[data-run]")
        expect(page.locator("[data-pictures] img")).to_have_count(2)
        expect(page.locator("#api [data-language=curl]")).to_contain_text("/api/v7/images/inpaint")

    def test_a_pasted_picture_is_the_input(self, new_page: NewPage, service: Service, customer: dict[str, Any]) -> None:
        page = new_page(storage_state=customer["state"])
        page.goto("/models/local/demo")
        page.locator("label", has_text="Image to image").click()
        page.evaluate(
            """async () => {
              const canvas = new OffscreenCanvas(64, 64);
              canvas.getContext("2d").fillRect(0, 0, 64, 64);
              const file = new File([await canvas.convertToBlob()], "pasted.png", { type: "image/png" });
              const carrier = new DataTransfer();
              carrier.items.add(file);
              document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carrier, bubbles: true }));
            }"""
        )
        expect(page.locator("[data-picture=init_image] [data-preview]")).to_be_visible()
        expect(page.locator("#api [data-language=request]")).to_contain_text("pasted.png as base64")

    @pytest.mark.parametrize(
        ("name", "kind", "data"),
        [
            ("notes.txt", "text/plain", b"words"),
            ("broken.png", "image/png", b"no picture"),
            ("a.svg", "image/svg+xml", b"<svg/>"),
        ],
    )
    def test_a_file_that_is_no_picture_is_refused_beside_its_field(
        self, new_page: NewPage, customer: dict[str, Any], name: str, kind: str, data: bytes
    ) -> None:
        page = new_page(storage_state=customer["state"])
        page.goto("/models/local/demo")
        page.locator("label", has_text="Image to image").click()
        picture = page.locator("[data-picture=init_image]")
        file = picture.locator("input[type=file]")
        file.set_input_files([{"name": name, "mimeType": kind, "buffer": data}])
        expect(picture.locator("[data-unread]")).to_have_text(
            re.compile(f"^{name} is no picture that can be read here")
        )
        expect(picture.locator("[data-preview]")).to_be_hidden()
        expect(file).to_have_value("")
        expect(page.locator("#api [data-language=request]")).not_to_contain_text(name)
        page.click("[data-run]")
        expect(file).to_be_focused()
        expect(page.locator("[data-progress]")).to_be_hidden()
        picture.locator("input[type=text]").fill("https://example.com/a.png")
        expect(picture.locator("[data-unread]")).to_be_hidden()

    def test_cancelling_leaves_nothing_charged_and_offers_another_try(
        self, new_page: NewPage, service: Service
    ) -> None:
        page = new_page()
        sign_up(page, service, "cancel@example.org")
        page.goto("/models/local/demo")
        service.stop("render")
        try:
            page.click("[data-run]")
            expect(page.locator("[data-phase]")).to_contain_text("In the queue")
            page.click("[data-cancel]")
            expect(page.locator("[data-fault]")).to_contain_text("Nothing was charged")
            expect(page.locator("[data-after]")).to_contain_text("99 of 100 left")
        finally:
            service.start("render")
            service.wait_ready()

    def test_two_models_are_compared_side_by_side(self, new_page: NewPage, service: Service) -> None:
        page = new_page()
        sign_up(page, service, "compare@example.org")
        page.goto("/playground/compare?model=demo&model=demo&seed=1&seed=2&prompt=a+red+circle")
        expect(page.locator("[data-total]")).to_have_text("$0.0040")
        page.fill("#c-steps-1", "5")
        expect(page).to_have_url(re.compile("num_inference_steps=5"))
        page.click("[data-run]")
        expect(page.locator("[data-column] img")).to_have_count(2)
        assert axe_faults(page) == []

    def test_without_a_script_the_call_leads_to_its_own_page(
        self, new_page: NewPage, service: Service, customer: dict[str, str]
    ) -> None:
        page = new_page(scripts=False)
        log_in(page, customer["email"])
        page.goto("/models/local/demo")
        page.click("[data-run]")
        page.wait_for_url("**/dashboard/requests/**")
        expect(page.locator("figure img").first).to_be_visible(timeout=15_000)


class TestTheme:
    def test_the_choice_holds_without_a_flash(self, new_page: NewPage) -> None:
        page = new_page()
        page.goto("/pricing")
        page.locator("header").get_by_role("button", name="Dark").click()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        answer = page.reload()
        assert answer is not None
        assert 'data-theme="dark"' in answer.text()

    def test_it_works_without_a_script(self, new_page: NewPage) -> None:
        page = new_page(scripts=False)
        page.goto("/pricing?from=here")
        page.locator("header").get_by_role("button", name="Dark").click()
        page.wait_for_url("**/pricing?from=here")
        assert 'data-theme="dark"' in page.content()


class TestTheUsagePage:
    def test_a_span_is_chosen_by_keyboard_and_by_drag(self, new_page: NewPage, customer: dict[str, Any]) -> None:
        page = new_page(storage_state=customer["state"])
        page.goto("/dashboard/usage?range=7d&metric=images&group=model_id")
        chart = page.locator(".chart-area")
        expect(chart.locator("canvas")).to_be_visible()
        chart.focus()
        page.keyboard.press("End")
        page.keyboard.press("Shift+ArrowLeft")
        expect(page.locator("#announce")).to_contain_text("2 steps chosen")
        page.keyboard.press("Enter")
        page.wait_for_url("**range=custom**")
        assert "metric=images" in page.url
        assert "group=model_id" in page.url
        before = page.url
        plot = page.locator(".u-over")
        expect(plot).to_be_visible()
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=5)
        page.mouse.up()
        page.wait_for_url(lambda url: url != before)
        assert "range=custom" in page.url

    def test_without_a_script_the_span_is_two_fields(self, new_page: NewPage, customer: dict[str, Any]) -> None:
        page = new_page(scripts=False, storage_state=customer["state"])
        page.goto("/dashboard/usage")
        today = timezone.now().date()
        page.fill("#from", f"{today - timedelta(days=1)}T00:00")
        page.fill("#to", f"{today + timedelta(days=1)}T00:00")
        page.click("button:has-text('Show')")
        page.wait_for_url("**range=custom**")
        page.locator("summary", has_text="The numbers as a table").click()
        expect(page.locator(".chart tbody tr")).to_have_count(48)


def test_the_question_mark_shows_the_keys(new_page: NewPage) -> None:
    page = new_page()
    page.goto("/pricing")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    assert axe_faults(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_calculator_follows_without_a_reload(new_page: NewPage) -> None:
    page = new_page()
    page.goto("/pricing")
    page.fill("#calc-images", "40000")
    expect(page.locator("#estimate")).to_contain_text("37,000 from funds")


def test_the_first_tab_stop_leads_to_the_content(new_page: NewPage) -> None:
    page = new_page()
    page.goto("/pricing")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_copying_is_announced(new_page: NewPage) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/docs")
    page.locator("[data-copy-code]").first.click()
    expect(page.locator("#announce")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl ")
