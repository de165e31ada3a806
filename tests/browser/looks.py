"""What is looked for on an open page: what axe knows, sideways scrolling, one h1, and what its console says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

AXE = (Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js").read_text()
# WCAG 2.0 to 2.2, A and AA.
EVERYTHING: dict[str, Any] = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
COLOURS: dict[str, Any] = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
THEMES = ("light", "dark")
WIDTHS_PX = (1280, 360)
HEIGHT_PX = 900


@dataclass
class Watch:
    """What went wrong on the watched pages."""

    host: str
    problems: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # A page that answers 404 or 403 on purpose is told of in the console as well.
        if message.type == "error" and "the server responded with a status of" not in message.text:
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        local = (self.host, "data:", "blob:", "chrome-error:")
        if not request.url.startswith(local):
            self.problems.append(f"asked another host: {request.url}")


def axe_faults(page: Page, rules: dict[str, Any] = EVERYTHING) -> list[str]:
    """Violations of the rules on the page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    # All that holds as well would be described node by node and sent over: most of the time that a look takes.
    found = page.evaluate(
        "async options => (await axe.run(document, options)).violations", rules | {"resultTypes": ["violations"]}
    )
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary'].splitlines()[-1].strip()}"
        for violation in found
        for node in violation["nodes"]
    ]


def faults_of(page: Page, width_px: int, rules: dict[str, Any] = EVERYTHING) -> list[str]:
    """What is wrong with the open page at this width."""
    page.set_viewport_size({"width": width_px, "height": HEIGHT_PX})
    page.evaluate("document.fonts.ready.then(() => true)")
    faults = axe_faults(page, rules)
    if page.locator("h1").count() != 1:
        faults.append(f"{page.locator('h1').count()} h1")
    scroll_px = page.evaluate("document.documentElement.scrollWidth")
    if scroll_px > width_px:
        faults.append(f"scrolls sideways, {scroll_px} px in {width_px}")
    return faults


class Tour:
    """Goes from page to page as readers do: each keeps what their browser has loaded, and changes the theme."""

    def __init__(self, browser: Browser, base_url: str) -> None:
        self._browser, self._base_url = browser, base_url
        self._readers: dict[str, tuple[Page, Watch]] = {}

    def faults(
        self, path: str, *, reader: str = "visitor", widths_px: tuple[int, int] = WIDTHS_PX, **context: Any
    ) -> list[str]:
        """In both themes at both widths: opened wide and made narrow in the one, the other way round in the other.

        `reader` names who looks; `context` is how their browser is when they come first.
        """
        if reader not in self._readers:
            page = self._browser.new_context(base_url=self._base_url, **context).new_page()
            page.set_default_timeout(15_000)
            self._readers[reader] = (page, Watch(self._base_url))
            self._readers[reader][1].attach(page)
        page, watch = self._readers[reader]
        faults = []
        for theme, widths in zip(THEMES, (widths_px, widths_px[::-1]), strict=True):
            page.context.add_cookies([{"name": "theme", "value": theme, "url": self._base_url}])
            page.set_viewport_size({"width": widths[0], "height": HEIGHT_PX})
            page.goto(path)
            shown = page.evaluate("document.documentElement.dataset.theme")
            if shown != theme:
                faults.append(f"{path}, {theme}: the page is {shown}")
            # Between the themes nothing but the colours differs.
            rules = EVERYTHING if theme == THEMES[0] else COLOURS
            faults += [
                f"{path}, {width_px} px, {theme}: {fault}"
                for width_px in widths
                for fault in faults_of(page, width_px, rules)
            ]
        faults += watch.problems
        watch.problems.clear()
        return faults

    def close(self) -> None:
        for page, _ in self._readers.values():
            page.context.close()
