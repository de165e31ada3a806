"""The public site: true prices everywhere, twins for machines, errors that help, nothing inline."""

from __future__ import annotations

import dataclasses
import html
import json
import re

import pytest
from django.test import Client, RequestFactory
from django.utils import timezone, translation
from pytest_django import DjangoAssertNumQueries

from billing.services import plan_assign, price_set
from gateway.site import context, errors
from gateway.site.docs import FOLDER, PAGES
from gateway.site.docs_search import search
from gateway.templatetags.units import price
from tests.conftest import Member

PAGES_OF_THE_SITE = [
    "/", "/pricing", "/models", "/models/local/demo", "/limits", "/status", "/docs", "/docs/reference",
    "/accounts/login/", "/accounts/signup/", *(f"/docs/{slug}" for slug in PAGES),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("catalogue")


@pytest.mark.parametrize("path", PAGES_OF_THE_SITE)
class TestEveryPage:
    def test_it_answers_with_and_without_a_slash(self, client: Client, path: str) -> None:
        assert client.get(path).status_code == 200
        if not path.startswith("/accounts"):
            assert client.get(path.rstrip("/") + "/").status_code == 200

    def test_nothing_is_inline(self, client: Client, path: str) -> None:
        html = client.get(path).content.decode()
        assert " style=" not in html
        assert "<style" not in html
        assert not re.search(r"\son\w+=", html)
        assert all("src=" in tag or "application/json" in tag for tag in re.findall(r"<script[^>]*>", html))

    def test_the_policy_allows_nothing_unsafe(self, client: Client, path: str) -> None:
        policy = client.get(path).headers["Content-Security-Policy"]
        sources = {source for directive in policy.split(";") for source in directive.split()[1:]}
        assert sources == {"'self'", "'none'", "data:", "blob:"}


class TestPrices:
    def test_every_price_on_the_site_is_one_of_the_table(self, client: Client) -> None:
        listed = {price(row["microusd_per_image"]) for row in client.get("/pricing.json").json()["images"]}
        for path in ("/", "/pricing", "/pricing.md", "/models", "/llms.txt"):
            shown = set(re.findall(r"\$0\.\d{4,6}", client.get(path).content.decode()))
            assert shown, path
            assert shown <= listed, path

    def test_a_new_price_shows_at_once(self, client: Client) -> None:
        price_set(price_code="sd15", amount_microusd=1_234, effective_from=timezone.now())
        assert "$0.001234" in client.get("/models/local/demo").content.decode()
        assert "$0.001234" in client.get("/pricing").content.decode()

    def test_a_future_price_does_not_show(self, client: Client) -> None:
        later = timezone.now() + timezone.timedelta(days=1)
        price_set(price_code="sd15", amount_microusd=9_876, effective_from=later)
        assert "$0.0098" not in client.get("/pricing").content.decode()


class TestTheOwnPlan:
    @pytest.fixture
    def as_alice(self, client: Client, alice: Member) -> Client:
        client.force_login(alice.user)
        return client

    def test_visitors_have_none(self, client: Client) -> None:
        page = client.get("/pricing").content.decode()
        assert "Your plan" not in page
        assert ">Start free<" in page

    @pytest.mark.parametrize(("code", "gone"), [("free", ">Start free<"), ("standard", "Choose Standard")])
    def test_it_is_marked_and_not_offered_again(self, as_alice: Client, alice: Member, code: str, gone: str) -> None:
        plan_assign(account_id=alice.account.pk, plan_code=code, now=timezone.now())
        page = as_alice.get("/pricing").content.decode()
        assert page.count("Your plan") == 1
        assert gone not in page
        assert "Choose Premium" in page

    def test_who_pays_as_they_go_may_add_funds(self, as_alice: Client, alice: Member) -> None:
        plan_assign(account_id=alice.account.pk, plan_code="payg", now=timezone.now())
        page = as_alice.get("/pricing").content.decode()
        assert page.count("Your plan") == 1
        assert "Add funds" in page
        assert ">Start free<" not in page


class TestTheCalculator:
    def lines(self, client: Client, **asked: object) -> dict[str, tuple[str, str]]:
        page = client.get("/pricing", asked).content.decode()
        table = page.partition('id="estimate"')[2].partition("</table>")[0]
        rows = re.findall(r'<th scope="row">(.*?)</th><td class="num">(.*?)</td><td>(.*?)</td>', table, re.DOTALL)
        return {name.split("<")[0].strip(): (amount, note) for name, amount, note in rows}

    def test_pay_as_you_go_is_the_table_s_price_for_what_is_not_free(self, client: Client) -> None:
        price_of = {
            row["price_code"]: row["microusd_per_image"] for row in client.get("/pricing.json").json()["images"]
        }
        found = self.lines(client, images=10_000, per_call=1, price_code="sd15")
        free = 100 * 30
        assert found["Pay as you go"][0] == f"${(10_000 - free) * price_of['sd15'] / 1e6:.2f}"

    def test_plans_count_calls_and_say_when_they_do_not_reach(self, client: Client) -> None:
        assert self.lines(client, images=40_000, per_call=4, price_code="other")["Standard"][0] != "–"
        assert self.lines(client, images=40_001, per_call=4, price_code="other")["Standard"][0] == "–"

    def test_rubbish_is_read_as_the_usual(self, client: Client) -> None:
        assert self.lines(client, images="x", per_call="99", price_code="<b>")


class TestModelPages:
    def test_the_twin_names_every_field_that_the_form_has(self, client: Client) -> None:
        page = client.get("/models/local/demo").content.decode()
        twin = client.get("/models/local/demo/api.md").content.decode()
        schema = client.get("/models/local/demo/schema.json").json()
        form = page.partition("data-playground")[2].partition("</form>")[0]
        names = set(re.findall(r'name="(\w+)"', form)) - {"csrfmiddlewaretoken", "operation"}
        names = {name for name in names if not name.endswith("_file")}
        assert names == set(schema["properties"]) - {"model_id"}
        assert all(f"`{name}`" in twin for name in names)

    def test_the_twin_is_served_to_those_who_accept_markdown(self, client: Client) -> None:
        answer = client.get("/models/local/demo", headers={"accept": "text/markdown"})
        assert answer.headers["Content-Type"].startswith("text/markdown")

    def test_the_twin_lists_the_errors_of_the_one_table(self, client: Client) -> None:
        twin = client.get("/models/local/demo/api.md").content.decode()
        assert "| 402 | `funds_exhausted` |" in twin

    def test_an_unknown_model_is_404(self, client: Client) -> None:
        assert client.get("/models/local/nothing").status_code == 404

    @pytest.mark.parametrize(("query", "found"), [("q=demo", True), ("q=zzz", False), ("family=flux", False)])
    def test_search_and_families_narrow_the_list(self, client: Client, query: str, found: bool) -> None:
        assert ("/models/local/demo" in client.get(f"/models?{query}").content.decode()) is found

    def test_a_search_by_htmx_gets_the_results_alone(self, client: Client) -> None:
        answer = client.get("/models?q=demo", headers={"hx-request": "true", "hx-target": "found"})
        assert b"<html" not in answer.content
        assert b"/models/local/demo" in answer.content


class TestErrors:
    def test_a_missing_page_names_the_request(self, client: Client) -> None:
        answer = client.get("/nothing-here")
        assert answer.status_code == 404
        assert answer.headers["X-Request-Id"] in answer.content.decode()

    def test_a_form_without_its_token_is_refused_in_words(self) -> None:
        answer = Client(enforce_csrf_checks=True).post("/theme", {"theme": "dark"})
        assert answer.status_code == 403
        assert "gone stale" in answer.content.decode()

    def test_the_last_resort_asks_neither_the_database_nor_the_session(
        self, rf: RequestFactory, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        request = rf.get("/pricing")
        request.COOKIES["theme"] = "dark"
        with django_assert_num_queries(0), translation.override("de"):
            answer = errors.broken(request)
        assert answer.status_code == 500
        assert 'data-theme="dark"' in answer.content.decode()
        assert "Bei uns ist etwas kaputtgegangen" in answer.content.decode()

    def test_too_many_sign_ups_from_one_address_are_refused(self, client: Client) -> None:
        answers = [client.post("/accounts/signup/", {"email": "x"}).status_code for _ in range(21)]
        assert answers[0] == 200
        assert answers[-1] == 429


class TestTheme:
    def test_the_page_comes_in_the_theme_of_the_cookie(self, client: Client) -> None:
        client.cookies["theme"] = "dark"
        assert 'data-theme="dark"' in client.get("/pricing").content.decode()

    def test_a_made_up_theme_is_the_system_s(self, client: Client) -> None:
        client.cookies["theme"] = '"><script>'
        assert 'data-theme="system"' in client.get("/pricing").content.decode()

    def test_the_switch_leads_nowhere_else(self, client: Client) -> None:
        answer = client.post("/theme", {"theme": "dark", "next": "https://elsewhere.example/"})
        assert answer.headers["Location"] == "/"
        assert answer.cookies["theme"].value == "dark"


class TestForMachines:
    def test_every_link_of_llms_txt_leads_somewhere(self, client: Client) -> None:
        text = client.get("/llms.txt").content.decode()
        links = re.findall(r"\]\(https?://[^/]+(/[^)]*)\)", text)
        assert len(links) >= 5
        assert {client.get(link).status_code for link in links} == {200}

    def test_the_status_tells_programs_the_same(self, client: Client) -> None:
        assert {part["state"] for part in client.get("/status.json").json()["parts"]} <= {"ok", "slow", "down", "off"}

    def test_pricing_counts_in_whole_micro_dollars(self, client: Client) -> None:
        body = json.loads(client.get("/pricing.json").content)
        assert all(isinstance(plan["monthly_microusd"], int) for plan in body["plans"])


def test_a_customer_sees_what_is_used_of_each_limit(client: Client, alice: Member) -> None:
    client.force_login(alice.user)
    page = client.get("/limits").content.decode()
    assert "Your account now" in page
    assert "0 of 100" in page


def test_an_operator_s_name_and_mark_stand_everywhere(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields of Site are read from the settings once, as every process does; here they are put in its place."""
    named = dataclasses.replace(
        context.Site(base_url="https://api.acme.example"), name="Acme Pictures", logo_url="/static/acme.svg"
    )
    monkeypatch.setattr(context, "Site", lambda base_url: named)
    for path in ("/", "/pricing", "/accounts/login/", "/docs"):
        page = client.get(path).content.decode()
        assert "Acme Pictures" in page
        assert "Lumen" not in page
        assert 'src="/static/acme.svg"' in page


class TestDocs:
    @pytest.mark.parametrize("slug", PAGES)
    def test_code_that_could_be_run_stands_in_samples_that_are_run(self, client: Client, slug: str) -> None:
        text = (FOLDER / f"{slug}.md").read_text()
        assert set(re.findall(r"^```(\w+)", text, re.MULTILINE)) <= {"json", "http"}

    @pytest.mark.parametrize("slug", PAGES)
    def test_the_page_and_its_twin_hold_the_same_samples(self, client: Client, slug: str) -> None:
        page = client.get(f"/docs/{slug}").content.decode()
        twin = client.get(f"/docs/{slug}", headers={"accept": "text/markdown"}).content.decode()
        assert "[[" not in page + twin
        shown = re.findall(r'data-language="\w+"[^>]*><code>(.*?)</code>', page, re.DOTALL)
        assert all(html.unescape(text) in twin for text in shown)

    def test_search_finds_a_code_and_leads_to_its_section(self, client: Client) -> None:
        page = client.get("/docs/search?q=idempotency_conflict").content.decode()
        assert "/docs/idempotency" in page
        found = client.get("/docs/search?q=rolling").content.decode()
        assert 'href="/docs/authentication#rolling-and-revoking"' in found
        assert 'id="rolling-and-revoking"' in client.get("/docs/authentication").content.decode()

    def test_an_excerpt_is_made_of_whole_words_without_marks(self, client: Client) -> None:
        texts = [("/docs/x", "X", "# X\n\n" + "before " * 40 + "the `key` of [the](/y) account. " + "after " * 40)]
        (hit,) = search("key", texts)
        assert "before the key of the account." in hit.excerpt
        assert set(hit.excerpt.replace("…", "").split()) <= {"before", "the", "key", "of", "account.", "after"}

    def test_search_escapes_what_it_was_asked(self, client: Client) -> None:
        page = client.get("/docs/search?q=<script>alert(1)</script>").content.decode()
        assert "<script>alert" not in page
        assert "Nothing found" in page
