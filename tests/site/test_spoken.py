"""The customer's pages in German, whole: no text without a translation, none shown in English; and what stays English:
what programs read, the documentation and the operator's console.
"""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from accounts.errors import sentence_said
from accounts.models import Membership, Role
from accounts.staff import StaffRole, staff_roles_set
from billing import mails
from billing.models import EntryKind
from billing.services import funds_grant
from billing.wording import dollars_entered, dollars_to_enter
from gateway.dashboard.pictures import FAILURES, NOTES, WORDS
from gateway.site.speech import PLAYGROUND, SITE, script_words
from gateway.templatetags import units
from inference.models import Generation
from tests.conftest import Member
from tests.support import bare_texts
from tools.messages import ROOT, catalog_read

DE = {"accept-language": "de"}
# The operator's console and the documentation are written in English; llms.txt is for programs.
ENGLISH = ("backoffice/", "docs/", "layouts/docs.html", "site/llms.txt")
TEMPLATES = ROOT / "templates"
CUSTOMERS = ("gateway/dashboard", "gateway/site", "accounts/forms.py")
PAGES = (
    "/pricing",
    "/limits",
    "/status",
    "/models",
    "/models/local/demo",
    "/playground/compare",
    "/dashboard",
    "/dashboard/billing/",
    "/dashboard/billing/ledger",
    "/dashboard/billing/plans/standard",
    "/dashboard/billing/invoices",
    "/dashboard/billing/cancelled",
    "/dashboard/gallery",
    "/dashboard/gallery/deleted",
    "/dashboard/shares",
    "/dashboard/keys",
    "/dashboard/keys/new",
    "/dashboard/requests",
    "/dashboard/usage",
    "/dashboard/webhooks",
    "/dashboard/team",
    "/dashboard/team/events",
    "/dashboard/profile",
    "/dashboard/get-started",
)


def spoken(path: Path) -> bool:
    return not str(path.relative_to(TEMPLATES)).startswith(ENGLISH)


class TestNothingIsLeftOut:
    def test_templates_hold_no_text_without_a_translation(self) -> None:
        files = [path for kind in ("*.html", "*.txt") for path in TEMPLATES.rglob(kind) if spoken(path)]
        found = {path.name: texts for path in files if (texts := bare_texts.of_template(path.read_text()))}
        assert found == {}

    def test_views_and_forms_give_none(self) -> None:
        paths = [ROOT / name for name in CUSTOMERS]
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
        found = {file.name: texts for file in files if (texts := bare_texts.of_module(file))}
        assert found == {}

    def test_scripts_look_up_what_they_say_and_no_word_more(self) -> None:
        said: set[str] = set()
        for file in (ROOT / "static" / "js").glob("*.js"):
            source = file.read_text()
            assert bare_texts.of_script(source) == [], file.name
            said |= bare_texts.said_by_script(source)
        assert said == {*SITE, *PLAYGROUND}

    @pytest.mark.parametrize(
        "source",
        [
            "<p>Some words</p>",
            '<input placeholder="Some words">',
            '{% include "components/empty.html" with title="Some words" only %}',
            '{{ value|default:"Some words" }}',
            "{% if a %}Some words{% endif %}",
        ],
    )
    def test_a_bare_text_is_found(self, source: str) -> None:
        assert bare_texts.of_template(source) == ["Some words"]

    @pytest.mark.parametrize(
        "source",
        [
            '{% load i18n %}<p>{% translate "Some words" %}</p>',
            "{% load i18n %}<p>{% blocktranslate %}Some <b>words</b>{% endblocktranslate %}</p>",
            '{% include "components/empty.html" with title=_("Some words") only %}',
            '<p class="some words"><code>Some words</code> 512x512, CSV</p>{% comment %}Some words{% endcomment %}',
        ],
    )
    def test_what_is_marked_or_for_machines_is_not(self, source: str) -> None:
        assert bare_texts.of_template(source) == []


@pytest.fixture(autouse=True)
def _no_picture_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product page's pictures are the demo model's, which takes its time."""
    monkeypatch.setattr("gateway.site.demo_pictures.pictures", list)


def english_sentences() -> set[str]:
    """Whole sentences of the catalogue: nothing but a page in English would show one."""
    ids = [message.id for message in catalog_read("de") if isinstance(message.id, str) and message.id != message.string]
    return {text for text in ids if text.count(" ") > 2 and not re.search(r"%|\{|<", text)}


def shown(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path, headers=DE)
    assert answer.status_code == status, path
    page = html.unescape(answer.content.decode())
    page = re.sub(r'<script type="application/json".*?</script>|<script id="speech".*?</script>', "", page, flags=re.S)
    return re.sub(r"\s+", " ", page)


def paths_of_a_call(member: Member) -> list[str]:
    """The pages of one key and of one call, placed as the playground does."""
    own = Client()
    own.force_login(member.user)
    assert own.post("/playground/run/local/demo", {"prompt": "a red circle"}).status_code == 302
    generation = Generation.objects.get(account_id=member.account.pk)
    key = f"/dashboard/keys/{member.key_id}"
    return [f"/dashboard/requests/{generation.pk}", f"{key}/edit", f"{key}/roll", f"{key}/revoke"]


def test_no_page_shows_an_english_sentence(client: Client, alice: Member) -> None:
    now, sentences = timezone.now(), english_sentences()
    funds_grant(account_id=alice.account.pk, amount_microusd=5_000_000, reason="welcome", op_key="w", now=now)
    client.force_login(alice.user)
    assert len(sentences) > 300
    for path in (*PAGES, f"/dashboard/billing/statements/{now.year}-{now.month}", *paths_of_a_call(alice)):
        page = shown(client, path)
        assert '<html lang="de"' in page, path
        assert [text for text in sentences if text in page] == [], path


def test_nor_do_errors(client: Client, alice: Member) -> None:
    assert "Unter dieser Adresse ist nichts" in shown(client, "/nothing-here", 404)
    client.force_login(alice.user)
    refused = client.post("/dashboard/keys/new", {"name": "x", "budget": "12,5x", "nonce": "n"}, headers=DE)
    assert "Ein Betrag wie 25 oder 25,50." in refused.content.decode()
    unpaid = client.post("/dashboard/billing/funds", {"amount": "10,00", "nonce": "n"}, headers=DE, follow=True)
    assert "Zahlungen sind in dieser Installation nicht eingerichtet" in unpaid.content.decode()


@pytest.mark.usefixtures("catalogue")
def test_nor_does_the_entrance_for_visitors(client: Client) -> None:
    sentences = english_sentences()
    for path in ("/", "/pricing", "/accounts/signup/", "/accounts/login/", "/accounts/password/reset/"):
        page = shown(client, path)
        assert [text for text in sentences if text in page] == [], path


class TestScripts:
    def test_pages_carry_what_their_scripts_say(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        page = client.get("/models/local/demo", headers=DE).content.decode()
        told = json.loads(re.findall(r'<script id="speech" type="application/json">(.*?)</script>', page)[0])
        assert told["Step {step} of {steps}"] == "Schritt {step} von {steps}"
        assert 'id="speech"' not in client.get("/models/local/demo").content.decode()

    def test_other_pages_carry_less(self) -> None:
        with translation.override("de"):
            assert set(script_words("site")) == set(SITE)
            assert set(script_words("playground")) == {*SITE, *PLAYGROUND}

    def test_the_playground_s_numbers_stay_numbers(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        page = client.get("/models/local/demo", headers=DE).content.decode()
        guidance = re.findall(r'<input id="p-guidance_scale"[^>]*>', page)[0]
        assert 'step="0.5"' in guidance
        assert not re.search(r'(?:value|min|max|step|data-default)="\d+,\d+"', page)


class TestMoneyAndDays:
    @pytest.mark.parametrize(
        ("filter_name", "value", "english", "german"),
        [
            ("money", 1_234_500_000, "$1,234.50", "1.234,50\N{NO-BREAK SPACE}$"),
            ("money", -2_500_000, "\N{MINUS SIGN}$2.50", "\N{MINUS SIGN}2,50\N{NO-BREAK SPACE}$"),
            ("price", 4_700, "$0.0047", "0,0047\N{NO-BREAK SPACE}$"),
            ("aligned", 25_000_000, "$25.0000", "25,0000\N{NO-BREAK SPACE}$"),
            ("whole_usd", 47_000_000, "$47", "47\N{NO-BREAK SPACE}$"),
            ("plain_usd", 25_000_000, "25.00", "25.00"),
            ("number", 12_000, "12,000", "12.000"),
            ("ms", 2_300, "2.3\N{NO-BREAK SPACE}s", "2,3\N{NO-BREAK SPACE}s"),
            ("percent", 0.9987, "99.87\N{NO-BREAK SPACE}%", "99,87\N{NO-BREAK SPACE}%"),
            ("bytes_size", 1_536, "1.5\N{NO-BREAK SPACE}KiB", "1,5\N{NO-BREAK SPACE}KiB"),
            ("long_day", datetime(2026, 3, 1, tzinfo=UTC), "1 March 2026", "1. März 2026"),
            ("long_when", datetime(2026, 3, 1, 4, 5, tzinfo=UTC), "1 March 2026, 04:05", "1. März 2026, 04:05"),
            ("utc_month", datetime(2026, 3, 1, tzinfo=UTC), "March 2026", "März 2026"),
        ],
    )
    def test_they_are_written_as_the_language_does(
        self, filter_name: str, value: Any, english: str, german: str
    ) -> None:
        write = getattr(units, filter_name)
        assert write(value) == english
        with translation.override("de"):
            assert write(value) == german

    def test_a_month_is_the_utc_month_in_every_zone(self) -> None:
        with timezone.override("America/New_York"):
            assert units.utc_month(datetime(2026, 3, 1, tzinfo=UTC)) == "March 2026"

    @pytest.mark.parametrize(
        ("text", "english_microusd", "german_microusd"),
        [
            ("25", 25_000_000, 25_000_000),
            ("25.50", 25_500_000, 25_500_000),
            ("25,50", 25_500_000, 25_500_000),
            ("$1,000", 1_000_000_000, 1_000_000),
            ("1.000 $", 1_000_000, 1_000_000_000),
            ("1,234.50", 1_234_500_000, None),
            ("1.234,50", None, 1_234_500_000),
            ("0.005", 5_000, None),
            ("0,005", None, 5_000),
            ("ten", None, None),
            ("", None, None),
        ],
    )
    def test_they_are_read_so_too(self, text: str, english_microusd: int | None, german_microusd: int | None) -> None:
        for language, expected in (("en", english_microusd), ("de", german_microusd)):
            with translation.override(language):
                if expected is None:
                    with pytest.raises(ValueError, match="not an amount"):
                        dollars_entered(text)
                else:
                    assert dollars_entered(text) == expected

    @pytest.mark.parametrize("amount_microusd", [0, 5_000, 1_000_000, 1_234_567_890])
    def test_what_stands_in_a_field_is_read_back(self, amount_microusd: int) -> None:
        for language in ("en", "de"):
            with translation.override(language):
                assert dollars_entered(dollars_to_enter(amount_microusd)) == amount_microusd


class TestMailsAboutMoney:
    def test_each_reader_is_told_in_their_language(self, alice: Member, bob: Member, mailoutbox: list[Any]) -> None:
        alice.user.language = "de"
        alice.user.save()
        Membership.objects.filter(user=bob.user).update(role=Role.BILLING)
        mails.balance_low(account_id=alice.account.pk, since="1", available_microusd=1_500_000, now=timezone.now())
        told = {message.to[0]: message for message in mailoutbox}
        german, english = told["alice@example.org"], told["bob@example.org"]
        assert "Ihr Guthaben ist niedrig" in german.subject
        assert "1,50\N{NO-BREAK SPACE}$ sind übrig" in german.body
        assert '<html lang="de">' in german.alternatives[0].content
        assert "Your balance is low" in english.subject
        assert "$1.50 is left" in english.body

    def test_programs_are_told_in_english(self, alice: Member, settings: Any) -> None:
        heard: list[dict[str, Any]] = []

        def hear(facts: dict[str, Any], **_: Any) -> None:
            heard.append(facts)

        mails.money_told.connect(hear)
        try:
            with translation.override("de"):
                mails.spending_warned(account_id=alice.account.pk, key="k", warn_microusd=1_000_000, now=timezone.now())
        finally:
            mails.money_told.disconnect(hear)
        assert heard[0]["scope"] == "This account"
        assert heard[0]["message"] == "This account has spent $1.00 this month (UTC). Nothing has stopped."
        json.dumps(heard)


class TestWhatStaysEnglish:
    @pytest.mark.parametrize(
        "path",
        [
            "/pricing.md",
            "/pricing.json",
            "/limits.md",
            "/status.md",
            "/status.json",
            "/models.md",
            "/llms.txt",
            "/models/local/demo/api.md",
            "/models/local/demo/schema.json",
            "/openapi.json",
        ],
    )
    def test_what_machines_read(self, client: Client, catalogue: None, path: str) -> None:
        given = [client.get(path, headers=headers).content for headers in (DE, {})]
        # The status tells the moment at which it was asked.
        texts = [re.sub(rb"[0-9a-f:.T+-]{12,}", b"", text) for text in given]
        assert texts[0] == texts[1]

    def test_statements_as_csv(self, client: Client, alice: Member) -> None:
        now = timezone.now()
        funds_grant(account_id=alice.account.pk, amount_microusd=5_000_000, reason="welcome", op_key="w", now=now)
        client.force_login(alice.user)
        lines = client.get(f"/dashboard/billing/statements/{now.year}-{now.month}.csv", headers=DE).content.decode()
        assert "movement,Grant,1,,5.000000" in lines

    def test_the_documentation_and_it_says_so(self, client: Client, catalogue: None) -> None:
        page = shown(client, "/docs/limits")
        assert '<main id="main" tabindex="-1" lang="en">' in page
        assert "Die Dokumentation ist auf Englisch geschrieben." in page
        assert "Search the documentation" in page

    def test_the_console(self, client: Client, alice: Member) -> None:
        staff_roles_set(user=alice.user, roles=frozenset({StaffRole.OWNER}))
        client.force_login(alice.user)
        page = shown(client, "/console/")
        assert '<html lang="en"' in page
        assert not [word for word in ("Guthaben", "Schlüssel", "Übersicht") if word in page]


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("it answered 404", "es kam die Antwort 404"),
        ("it redirects more than 3 times", "es leitet mehr als 3-mal um"),
        ("its host is not known ([Errno -2] unknown)", "der Rechnername ist nicht bekannt ([Errno -2] unknown)"),
        ('contains "sand{0}", which this service does not draw', 'enthält "sand{0}"; das zeichnet dieser Dienst nicht'),
        ("somebody's own {braces} and 7", "somebody's own {braces} and 7"),
    ],
)
def test_reasons_with_numbers_and_quoted_words_are_german_too(english: str, german: str) -> None:
    assert sentence_said(english) == english
    with translation.override("de"):
        assert sentence_said(english) == german


def test_what_the_engine_says_most_is_its_own_sentence() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "inference").rglob("*.py"))
    pieces = [max(text.rstrip(".").split("{}"), key=len) for text in (*FAILURES, *NOTES)]
    assert [piece for piece in pieces if piece not in sources] == []


def test_a_call_that_was_stopped_is_no_error(client: Client, alice: Member) -> None:
    client.force_login(alice.user)
    client.post("/playground/run/local/demo", {"prompt": "a red circle"})
    call = Generation.objects.get(account_id=alice.account.pk)
    client.post(f"/dashboard/requests/{call.pk}/cancel")
    page = shown(client, f"/dashboard/requests/{call.pk}")
    assert "Dieser Aufruf wurde abgebrochen." in page
    assert "alert-bad" not in page


def test_the_record_names_what_was_changed_in_german(client: Client, alice: Member) -> None:
    client.force_login(alice.user)
    client.post("/dashboard/profile/account", {"name": "Studio", "time_zone": "Europe/Berlin", "retention_days": "7"})
    record = shown(client, "/dashboard/team/events")
    assert "hat Einstellungen geändert: Name, Zeitzone, Tage der Aufbewahrung, Einstellungen in Bildern" in record


def test_kinds_and_states_have_german_names() -> None:
    with translation.override("de"):
        assert EntryKind.TOP_UP.label == "Aufladung"
        assert len({str(word) for word in WORDS.values()}) == len(WORDS)
