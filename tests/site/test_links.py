"""Every link leads somewhere: a crawl of the site as a visitor, as the owner of an account and as staff, and the
markdown of the documentation and of the repository.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit

import markdown
import pytest
from django.contrib.staticfiles import finders
from django.http import Http404
from django.test import Client
from django.urls import resolve
from django.utils import timezone

from accounts.staff import StaffRole, staff_roles_set
from gateway.webhooks_out import webhook_test
from inference.models import Generation
from tests.conftest import Member
from tests.site.test_log_and_gallery import deliver
from tests.site.test_sharing import share
from tests.support.money import fund
from tools.messages import ROOT

OURS = "http://testserver"
# Hosts that pages may lead to: programs' specifications and what the texts are about. Anything else is a mistake.
ELSEWHERE: frozenset[str] = frozenset()
MARKDOWN_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^()\s]+)\)")
STOP_POLLING = 286  # htmx's own
# A list of ten thousand models has as many pages: of each kind of address a sample is opened.
PER_ADDRESS, PER_ROUTE, PAGES_MAX = 3, 16, 400


class Links(HTMLParser):
    """What a page leads to, what it loads, where its forms go, and which places of it can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.followed: set[str] = set()
        self.sent_to: set[str] = set()
        self.ids: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids[given["id"]] += 1
        for name in ("href", "src", "hx-get"):
            if name in given and not given[name].startswith("data:"):
                self.followed.add(given[name])
        if tag == "form" and given.get("method", "get").lower() == "post" and "action" in given:
            self.sent_to.add(given["action"])


@dataclass
class Crawl:
    client: Client
    faults: list[str] = field(default_factory=list)
    # Address without a fragment -> the ids on its page, None for what is no page.
    ids: dict[str, Counter[str] | None] = field(default_factory=dict)
    places: set[tuple[str, str, str]] = field(default_factory=set)
    opened: Counter[object] = field(default_factory=Counter)

    def run(self, *starts: str) -> list[str]:
        waiting = deque((start, "the start") for start in starts)
        while waiting and len(self.ids) < PAGES_MAX:
            address, source = waiting.popleft()
            if address not in self.ids and self._is_sampled(address):
                waiting += [(found, address) for found in self._open(address, source)]
        for address, place, source in sorted(self.places):
            ids = self.ids.get(address)
            if ids is not None and place not in ids:
                self.faults.append(f"{source} leads to #{place}, which {address} has not")
        return sorted(self.faults)

    def _is_sampled(self, address: str) -> bool:
        path = unquote(urlsplit(address).path)
        names = tuple(sorted({name for name, _ in parse_qsl(urlsplit(address).query)}))
        try:
            route = resolve(path).route
        except Http404:
            return True
        shapes = ((path, names), (route, names))
        if self.opened[shapes[0]] >= PER_ADDRESS or self.opened[shapes[1]] >= PER_ROUTE:
            return False
        self.opened.update(shapes)
        return True

    def _open(self, address: str, source: str) -> list[str]:
        answer = self.client.get(address)
        answer.close()
        kind = answer.headers.get("Content-Type", "")
        self.ids[address] = None
        if answer.status_code in (301, 302):
            return self._led_to({answer.headers["Location"]}, address)
        if answer.status_code not in (200, STOP_POLLING):
            self.faults.append(f"{source} leads to {address}: {answer.status_code}")
            return []
        if answer.streaming or not kind.startswith(("text/html", "text/markdown", "text/plain")):
            return []
        text = answer.content.decode()
        if not kind.startswith("text/html"):
            return self._led_to(set(MARKDOWN_LINK.findall(text)), address)
        page = Links(text)
        self.ids[address] = page.ids
        self.faults += [f"{address} has {many} places #{place}" for place, many in page.ids.items() if many > 1]
        self._check_forms(page.sent_to, address)
        return self._led_to(page.followed, address)

    def _check_forms(self, targets: set[str], source: str) -> None:
        for target in targets:
            try:
                resolve(unquote(urlsplit(urljoin(source, target)).path))
            except Http404:
                self.faults.append(f"{source} sends a form to {target}, which is nothing")

    def _led_to(self, links: set[str], source: str) -> list[str]:
        """Addresses of this site among these links, the rest judged here."""
        ours = []
        for link in links:
            whole, place = urldefrag(urljoin(OURS + source, link))
            parts = urlsplit(whole)
            if parts.scheme in ("mailto", "data", "otpauth"):
                continue
            if not whole.startswith(OURS):
                if parts.hostname not in ELSEWHERE:
                    self.faults.append(f"{source} leads to another host: {link}")
                continue
            address = whole.removeprefix(OURS) or "/"
            if parts.path.startswith("/static/"):
                if not finders.find(unquote(parts.path).removeprefix("/static/")):
                    self.faults.append(f"{source} loads {link}, which is no file")
                continue
            if place:
                self.places.add((address, place, source))
            ours.append(address)
        return sorted(ours)


@pytest.fixture(autouse=True)
def _no_picture_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product page's pictures are the demo model's, which takes its time."""
    monkeypatch.setattr("gateway.site.demo_pictures.pictures", list)


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


@pytest.fixture
def eventful(as_alice: Client, alice: Member, bob: Member) -> Generation:
    """What makes rows and pages appear: funds, a team, calls of which one's model is gone, a webhook, a shared link."""
    fund(alice.account, 5_000_000)
    webhook_test(account_id=alice.account.pk, url="https://example.com/hook", now=timezone.now())
    gone = deliver(as_alice)
    share(as_alice, gone)
    Generation.objects.filter(pk=gone.pk).update(model_id="gone")
    as_alice.post("/dashboard/gallery/favourite", {"favourite": gone.pk})
    return deliver(as_alice)


@pytest.mark.usefixtures("catalogue")
def test_every_link_leads_somewhere_for_a_visitor(client: Client) -> None:
    crawl = Crawl(client)
    assert crawl.run("/", "/llms.txt") == []
    assert {"/docs/errors", "/docs/errors.md", "/pricing", "/models/local/demo", "/accounts/signup/"} <= set(crawl.ids)


@pytest.mark.usefixtures("catalogue")
def test_a_dead_link_and_a_missing_place_are_told(client: Client) -> None:
    assert Crawl(client).run("/nothing-here") == ["the start leads to /nothing-here: 404"]
    crawl = Crawl(client, places={("/pricing", "nowhere", "/somewhere")})
    assert crawl.run("/pricing") == ["/somewhere leads to #nowhere, which /pricing has not"]


def test_for_the_owner_of_an_account(as_alice: Client, eventful: Generation) -> None:
    crawl = Crawl(as_alice)
    assert crawl.run("/dashboard", share(as_alice, eventful)) == []
    assert {f"/dashboard/requests/{eventful.pk}", "/dashboard/team/events", "/accounts/2fa/"} <= set(crawl.ids)


def test_for_staff(as_alice: Client, alice: Member, eventful: Generation) -> None:
    staff_roles_set(user=alice.user, roles=frozenset({StaffRole.OWNER}))
    crawl = Crawl(as_alice)
    assert crawl.run("/console") == []
    assert {
        f"/console/requests/{eventful.pk}",
        "/console/models/demo/edit",
        "/console/staff",
        "/console/webhooks",
    } <= set(crawl.ids)


def shown_markdown() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("path", shown_markdown(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_the_repository_s_texts_leads_to_a_file_and_a_heading(path: Path) -> None:
    for link in MARKDOWN_LINK.findall(path.read_text()):
        if re.match(r"https?:|mailto:|/|\{\{", link):
            continue
        target, place = urldefrag(link)
        file = (path.parent / unquote(target)) if target else path
        assert file.exists(), link
        if place:
            page = Links(markdown.markdown(file.read_text(), extensions=["fenced_code", "tables", "toc"]))
            assert place in page.ids, link
