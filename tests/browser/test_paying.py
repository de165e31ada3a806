"""What a customer clicks to pay: funds, a paid picture and its line in the ledger, a plan, a free picture, the end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import call, sign_up
from tests.browser.looks import axe_faults
from tests.support.servers import free_port
from tests.support.service import PROJECT, Service, running_service
from tools.supervisor import dies_with_owner

PICTURES = Path(__file__).parents[2] / ".run" / "paying"


@pytest.fixture(scope="module")
def paid_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service beside a payment sandbox, as `make run` starts it."""
    import signal

    run_dir = tmp_path_factory.mktemp("paying")
    port = free_port()
    env = {
        "INSTANT_RENDER_S": "0.1",
        "WEB_THREADS": "40",
        "BILLING_PROVIDER": "sandbox",
        "STRIPE_API_BASE": f"http://127.0.0.1:{port}",
        "STRIPE_WEBHOOK_SECRETS": "whsec_sandbox",
    }
    with running_service(run_dir, env=env, pages=True) as running:
        command = [sys.executable, "-m", "billing.sandbox", "--secret", "whsec_sandbox"]
        sandbox = subprocess.Popen(
            [*command, "--port", str(port), "--webhook-url", f"{running.url}/stripe/webhook"],
            cwd=PROJECT,
            env=running.env,
            stdout=subprocess.PIPE,
            preexec_fn=dies_with_owner(signal.SIGKILL),
        )
        assert sandbox.stdout
        assert b"listening" in sandbox.stdout.readline()
        yield running
        sandbox.terminate()
        sandbox.wait(20)
        sandbox.stdout.close()


@pytest.fixture
def page(browser: Browser, paid_service: Service) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=paid_service.url)
    page = context.new_page()
    page.set_default_timeout(20_000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert [problem for problem in problems if "status of" not in problem] == []


def photograph(page: Page, name: str) -> None:
    """The step on a desk and on a telephone, by day and by night."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    assert before
    for width in (1440, 360):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=True, animations="disabled")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(before)


@pytest.mark.timeout(400)  # the start of two services counts, on whatever machine
def test_from_the_first_dollar_to_the_end_of_a_plan(page: Page, paid_service: Service) -> None:
    sign_up(page, paid_service, "payer@example.org")
    key = page.locator(".key-once code").inner_text()
    adds_funds(page)
    balance = pays_for_a_picture(page, paid_service, key)
    takes_a_plan(page, paid_service, key, balance)
    cancels_it(page)
    assert paid_service.manage("audit", check=False).returncode == 0


def adds_funds(page: Page) -> None:
    page.goto("/dashboard/billing/")
    expect(page.get_by_text("Payments run in a sandbox here")).to_be_visible()
    assert axe_faults(page) == []
    photograph(page, "1-billing")
    page.get_by_role("button", name="$10.00", exact=True).click()
    page.wait_for_url(re.compile("127.0.0.1:.*/(pay|checkout|c)"))
    photograph(page, "2-pay-page")
    page.locator("form button").first.click()
    page.wait_for_url("**/dashboard/billing/funds/done**")
    expect(page.get_by_text("Funds added")).to_be_visible()
    photograph(page, "3-funds-added")
    page.get_by_role("link", name="Receipt").click()
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()
    assert axe_faults(page) == []
    photograph(page, "3-receipt")


def pays_for_a_picture(page: Page, paid_service: Service, key: str) -> str:
    """The balance after it, as the ledger shows it."""
    paid_service.manage(
        "shell",
        "-c",
        "from billing.models import Wallet; Wallet.objects.update(overrides={'free_calls_per_day': 0})",
    )
    page.wait_for_timeout(1_000)
    assert call(paid_service, key, {"model_id": "demo", "prompt": "a circle"})["status"] == "success"
    page.goto("/dashboard/billing/ledger")
    expect(page.get_by_role("row", name=re.compile("Charge, 1 image"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Top-up"))).to_contain_text("$10.00")
    assert axe_faults(page) == []
    photograph(page, "4-ledger")
    balance = page.locator("tbody tr").first.locator("td").last.inner_text()
    page.get_by_role("navigation", name="Monthly statements").get_by_role("link").first.click()
    expect(page.get_by_role("row", name=re.compile("Balance at the end"))).to_be_visible()
    assert axe_faults(page) == []
    photograph(page, "4-statement")
    return balance


def takes_a_plan(page: Page, paid_service: Service, key: str, balance: str) -> None:
    """Under it a picture costs nothing."""
    page.goto("/dashboard/billing/")
    page.get_by_role("link", name="Premium").click()
    expect(page.get_by_role("row", name=re.compile("Covered without a limit"))).to_contain_text("Every model")
    assert axe_faults(page) == []
    photograph(page, "5-before-the-plan")
    page.get_by_role("button", name="Continue to payment").click()
    page.wait_for_url(re.compile("127.0.0.1:.*/(pay|checkout|c)"))
    page.locator("form button").first.click()
    page.wait_for_url("**/dashboard/billing/plan/done**")
    expect(page.get_by_text("Welcome to Premium")).to_be_visible()
    page.wait_for_timeout(1_000)
    assert call(paid_service, key, {"model_id": "demo", "prompt": "a square"})["status"] == "success"
    page.goto("/dashboard/billing/ledger")
    assert page.locator("tbody tr").first.locator("td").last.inner_text() == balance
    expect(page.locator("tbody tr")).to_have_count(2)
    page.goto("/dashboard/billing/")
    expect(page.get_by_text("It renews on")).to_be_visible()
    photograph(page, "5-premium")


def cancels_it(page: Page) -> None:
    page.get_by_role("button", name="Change, cancel, card and invoices").click()
    page.wait_for_url(re.compile("127.0.0.1:.*portal|/p/|/b/"))
    photograph(page, "6-portal")
    page.get_by_role("button", name=re.compile("[Cc]ancel")).first.click()
    photograph(page, "7-portal-cancelled")
    page.get_by_role("link", name=re.compile("[Rr]eturn|[Bb]ack")).first.click()
    page.wait_for_url(re.compile("/dashboard/billing/?$"))
    expect(page.get_by_text("It ends on")).to_be_visible()
    photograph(page, "8-ending")
