"""Mails: as text and as HTML, in the operator's name, with the code where it is looked for."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.test import Client

from accounts.adapters import code_new, html_of
from accounts.models import User

SIGN_UP = {"email": "dora@example.org", "password1": "an old sentence is a good password"}
pytestmark = pytest.mark.usefixtures("catalogue")


def html_part(message: mail.EmailMessage) -> str:
    assert isinstance(message, mail.EmailMultiAlternatives)
    return next(str(part[0]) for part in message.alternatives if part[1] == "text/html")


class TestConfirmation:
    def test_six_digits_come_in_the_subject_the_text_and_the_html(self, client: Client) -> None:
        client.post("/accounts/signup/", SIGN_UP)
        message = mail.outbox[0]
        code = re.search(r"^(\d{6})$", str(message.body), re.MULTILINE)
        assert code is not None
        assert code[1] in message.subject
        assert code[1] in html_part(message)
        assert "Lumen" in message.from_email

    def test_the_code_opens_the_account(self, client: Client) -> None:
        client.post("/accounts/signup/", SIGN_UP)
        code = re.search(r"^(\d{6})$", str(mail.outbox[0].body), re.MULTILINE)
        assert code is not None
        answer = client.post("/accounts/confirm-email/", {"code": code[1]})
        assert answer.headers["Location"] == "/dashboard"

    def test_a_wrong_code_opens_nothing(self, client: Client) -> None:
        client.post("/accounts/signup/", SIGN_UP)
        assert client.post("/accounts/confirm-email/", {"code": "000000"}).status_code == 200
        assert client.get("/dashboard").headers["Location"].startswith("/accounts/login/")

    def test_a_known_address_gets_a_mail_and_the_visitor_learns_nothing(self, client: Client) -> None:
        User.objects.create_user("dora@example.org", "correct horse battery")
        known = client.post("/accounts/signup/", SIGN_UP)
        unknown = Client().post("/accounts/signup/", SIGN_UP | {"email": "new@example.org"})
        assert (known.status_code, known.headers["Location"]) == (unknown.status_code, unknown.headers["Location"])
        assert "already" in str(mail.outbox[0].body)


class TestRefusedDomains:
    def test_an_operator_s_list_is_kept(self, client: Client, settings: object) -> None:
        settings.REFUSED_EMAIL_DOMAINS = frozenset({"throwaway.example"})  # type: ignore[attr-defined]
        answer = client.post("/accounts/signup/", SIGN_UP | {"email": "x@throwaway.example"})
        assert "cannot sign up here" in answer.content.decode()
        assert mail.outbox == []

    def test_a_closed_installation_says_so(self, client: Client, settings: object) -> None:
        settings.SIGNUP_OPEN = False  # type: ignore[attr-defined]
        assert "losed" in client.get("/accounts/signup/").content.decode()


def test_codes_are_six_digits_and_not_all_the_same() -> None:
    codes = {code_new() for _ in range(50)}
    assert len(codes) > 40
    assert all(re.fullmatch(r"\d{6}", code) for code in codes)


def test_html_mails_escape_what_people_typed() -> None:
    assert "<script>" not in html_of("Hello <script>alert(1)</script>")
