"""German: that nothing that is marked lacks its translation, who is spoken to in it, and which language wins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import allauth
import pytest
from babel.messages.mofile import read_mo
from django.core import mail
from django.test import Client
from django.utils.translation import get_language

from accounts.library_texts import LIBRARY_TEXTS
from accounts.models import User
from gateway.notices import new_device_mail
from tests.conftest import Member
from tools.messages import LANGUAGES, Message, catalog_read, compiled, is_translated, messages_marked, po_path

DE = {"accept-language": "de-AT,de;q=0.9,en;q=0.5"}
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}|%%|<[^>]+>")


def values(text: Message | list[str]) -> set[tuple[str, ...]]:
    """What a text keeps free for values, and its tags; of each form where it has a singular and a plural."""
    forms = [text] if isinstance(text, str) else text
    return {tuple(sorted(PLACEHOLDER.findall(form))) for form in forms}


@pytest.mark.parametrize("language", LANGUAGES)
class TestTheCatalogue:
    def test_it_holds_what_is_marked_and_nothing_else(self, language: str) -> None:
        assert {message.id for message in catalog_read(language) if message.id} == set(messages_marked())

    def test_nothing_lacks_its_translation_or_one_of_its_values(self, language: str) -> None:
        for message in catalog_read(language):
            if message.id:
                assert is_translated(message.string), message.id
                assert values(message.string) <= values(message.id), message.id

    def test_sentences_of_allauth_are_as_it_spells_them_and_call_people_sie(self, language: str) -> None:
        with (Path(allauth.__file__).parent / f"locale/{language}/LC_MESSAGES/django.mo").open("rb") as file:
            theirs = read_mo(file)
        ours = {message.id: str(message.string) for message in catalog_read(language)}
        for text in LIBRARY_TEXTS:
            assert theirs.get(text) is not None, text
            assert not re.search(r"\b[Dd](u|ich|ir|ein\w*)\b", ours[text]), text

    def test_the_compiled_file_is_that_of_the_text(self, language: str) -> None:
        assert po_path(language).with_suffix(".mo").read_bytes() == compiled(catalog_read(language))


def words(client: Client, path: str, **headers: str) -> str:
    return re.sub(r"\s+", " ", client.get(path, headers=headers).content.decode())


@pytest.mark.usefixtures("catalogue")
class TestTheEntrance:
    def test_it_speaks_the_browser_s_language(self, client: Client) -> None:
        page = words(client, "/accounts/signup/", **DE)
        for text in (
            '<html lang="de"',
            "Konto anlegen",
            "Wir senden einen sechsstelligen Code",
            "Mindestens 10 Zeichen",
        ):
            assert text in page
        page = words(client, "/accounts/login/", **{"accept-language": "fr,en;q=0.5"})
        assert '<html lang="en"' in page
        assert "Anmelden" not in page

    def test_the_switch_is_remembered_by_the_browser(self, client: Client) -> None:
        answer = client.post("/language", {"language": "de", "next": "/accounts/login/"})
        assert answer.headers["Location"] == "/accounts/login/"
        assert "Anmelden" in words(client, "/accounts/login/")
        client.post("/language", {"language": "en"})
        assert "Anmelden" not in words(client, "/accounts/login/", **DE)

    def test_it_leads_nowhere_else_and_knows_its_languages(self, client: Client) -> None:
        answer = client.post("/language", {"language": "tlh", "next": "https://example.org/"})
        assert answer.headers["Location"] == "/"
        assert "django_language" not in client.cookies

    def test_the_mail_with_the_code_page_too(self, client: Client) -> None:
        fields = {"email": "dora@example.org", "password1": "an old sentence is a good password"}
        answer = client.post("/accounts/signup/", fields, headers=DE, follow=True)
        assert "Code eingeben" in answer.content.decode()


class TestPagesOfAnAccount:
    def test_navigation_and_overview_are_german(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        page = words(client, "/dashboard", **DE)
        for text in (
            "API-Schlüssel",
            "Heute noch frei",
            "Erste Schritte",
            "Noch keine Bilder",
            "Schlüssel erstellen",
        ):
            assert text in page
        assert '<html lang="de"' in page

    def test_the_profile_speaks_before_the_browser_s_wish(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        client.post("/dashboard/profile/person", {"name": "", "theme": "system", "language": "de"})
        assert User.objects.get(pk=alice.user.pk).language == "de"
        assert "Heute noch frei" in words(client, "/dashboard", **{"accept-language": "en"})

    def test_a_language_ends_with_its_request(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        assert client.get("/dashboard", headers=DE).headers["Content-Language"] == "de"
        assert get_language() == "en"

    def test_the_switch_changes_the_profile(self, client: Client, alice: Member) -> None:
        client.force_login(alice.user)
        client.post("/language", {"language": "de"})
        assert User.objects.get(pk=alice.user.pk).language == "de"


def test_mails_are_in_the_reader_s_language(alice: Member, django_capture_on_commit_callbacks: Any) -> None:
    alice.user.language = "de"
    with django_capture_on_commit_callbacks(execute=True):
        agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
        new_device_mail(user=alice.user, user_agent=agent, address="203.0.113.9")
    (message,) = mail.outbox
    assert message.subject == "Eine neue Anmeldung bei Lumen"
    assert "Jemand hat sich als alice@example.org" in str(message.body)
    assert "Firefox auf Linux" in str(message.body)
