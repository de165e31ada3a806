"""Photographs pages of a running service at two widths in both themes, for people to look at.

python -m tools.screenshots --base-url http://127.0.0.1:8000 --email ... --password ... [path ...]
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

# The browser without its windows draws a page in half the time; where it is not installed, the whole one does.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]
WIDTHS_PX = {1440: 900, 360: 740}
THEMES = ("light", "dark")
PUBLIC = (
    "/",
    "/pricing",
    "/models",
    "/models?q=nothing-like-it",
    "/models/local/demo",
    "/playground/compare",
    "/docs",
    *(f"/docs/{slug}" for slug in ("authentication", "moving", "waiting", "webhooks", "idempotency", "pictures")),
    *(f"/docs/{slug}" for slug in ("errors", "limits", "billing", "changelog", "reference")),
    "/docs/search?q=key",
    "/limits",
    "/status",
    "/nothing-here",
)
# Pages that ask for a code: reached by sending a form. Name -> where the form is, and what is entered.
CODES = {
    "confirm-email": ("/accounts/signup/", {"email": "shot-{mark}@example.org", "password1": "an old sentence"}),
    "login-code": ("/accounts/login/code/", {"email": "shot-{mark}@example.org"}),
    "reset-code": ("/accounts/password/reset/", {"email": "shot-{mark}@example.org"}),
}
ENTRANCE = ("/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/login/code/")
SIGNED_IN = (
    "/dashboard",
    "/dashboard/get-started",
    "/dashboard/keys",
    "/dashboard/keys?archive=1",
    "/dashboard/keys/new",
    "/dashboard/usage",
    "/dashboard/usage?range=1h&metric=money&group=model_id",
    "/models/local/demo",
    "/playground/compare",
    "/models",
    "/limits",
    "/dashboard/requests",
    "/dashboard/gallery",
    "/dashboard/gallery/deleted",
    "/dashboard/shares",
    "/dashboard/billing",
    "/dashboard/billing/ledger",
    "/dashboard/billing/invoices",
    "/dashboard/webhooks",
    "/dashboard/team",
    "/dashboard/team/events",
    "/dashboard/profile",
    "/dashboard/profile/leave",
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/3rdparty/",
    "/accounts/2fa/",
    "/accounts/sessions/",
)
# The operator's console: the demo account's owner is of its staff.
CONSOLE = (
    "/console",
    "/console/usage",
    "/console/usage?range=30d&group=account&metric=money",
    "/console/customers",
    "/console/customers/1",
    "/console/requests",
    "/console/requests?state=failed",
    "/console/webhooks",
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
)


def name_of(path: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in path.strip("/")) or "home"


def log_in(page: Page, base_url: str, email: str, password: str) -> None:
    page.goto(f"{base_url}/accounts/login/")
    page.fill("input[name=login]", email)
    page.fill("input[name=password]", password)
    page.click("main form button:has-text('Log in')")
    page.wait_for_url("**/dashboard**")


def shots(browser: Browser, options: argparse.Namespace, *, signed_in: bool, paths: list[str]) -> Iterator[Path]:
    """One file per path, width and theme; the log-in happens once."""
    context = browser.new_context()
    page = context.new_page()
    if signed_in:
        log_in(page, options.base_url, options.email, options.password)
    for theme in THEMES:
        context.add_cookies([{"name": "theme", "value": theme, "url": options.base_url}])
        for width_px, height_px in WIDTHS_PX.items():
            page.set_viewport_size({"width": width_px, "height": height_px})
            for path in paths:
                target = Path(options.out) / f"{name_of(path)}-{width_px}-{theme}.png"
                page.goto(options.base_url + path)
                page.evaluate("document.fonts.ready.then(() => true)")
                page.wait_for_timeout(options.settle_ms)
                page.screenshot(path=target, full_page=True)
                yield target
    context.close()


def code_shots(browser: Browser, options: argparse.Namespace) -> Iterator[Path]:
    """The pages that ask for a code, each from a browser of its own."""
    for name, (path, fields) in CODES.items():
        for theme in THEMES:
            for width_px, height_px in WIDTHS_PX.items():
                context = browser.new_context(viewport={"width": width_px, "height": height_px})
                context.add_cookies([{"name": "theme", "value": theme, "url": options.base_url}])
                page = context.new_page()
                page.goto(options.base_url + path)
                for field, value in fields.items():
                    page.fill(f"main input[name={field}]", value.format(mark=f"{name}-{theme}-{width_px}"))
                page.click("main form:has(input[name=email]) button")
                page.wait_for_selector("main input[name=code]")
                page.evaluate("document.fonts.ready.then(() => true)")
                target = Path(options.out) / f"code-{name}-{width_px}-{theme}.png"
                page.screenshot(path=target, full_page=True)
                context.close()
                yield target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", help="all pages when none is named")
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--email", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--out", default=".run/screenshots")
    parser.add_argument("--settle-ms", type=int, default=150)
    options = parser.parse_args()
    Path(options.out).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        named = list(options.paths)
        for path in shots(browser, options, signed_in=False, paths=named or [*PUBLIC, *ENTRANCE]):
            print(path)
        for path in code_shots(browser, options) if not named else ():
            print(path)
        if options.email:
            for path in shots(browser, options, signed_in=True, paths=named or [*SIGNED_IN, *CONSOLE]):
                print(path)
        browser.close()


if __name__ == "__main__":
    main()
