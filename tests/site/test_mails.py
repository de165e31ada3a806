"""Mails: as text and as HTML, in the operator's name, with the code where it is looked for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.adapters import code_new, html_of
from accounts.devices import device_name
from accounts.models import User
from tests.conftest import Member

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

    @pytest.mark.parametrize(
        ("path", "form"),
        [("/accounts/signup/", SIGN_UP), ("/accounts/login/code/", {"email": SIGN_UP["email"]})],
    )
    def test_the_page_says_once_where_the_code_went(self, client: Client, path: str, form: dict[str, str]) -> None:
        page = client.post(path, form, follow=True).content.decode()
        assert "We sent six digits to" in page
        assert 'class="messages"' not in page

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
        assert "are not accepted here" in answer.content.decode()
        assert mail.outbox == []

    def test_nor_is_such_an_address_added_later(self, client: Client, settings: object) -> None:
        settings.REFUSED_EMAIL_DOMAINS = frozenset({"throwaway.example"})  # type: ignore[attr-defined]
        dora = User.objects.create_user("dora@example.org", "correct horse battery")
        client.force_login(dora)
        for email, taken in (("x@Throwaway.example", False), ("new@example.org", True)):
            page = client.post("/accounts/email/", {"email": email, "action_add": ""}, follow=True).content.decode()
            assert ("are not accepted here" not in page) is taken
            assert bool(mail.outbox) is taken

    def test_a_closed_installation_says_so(self, client: Client, settings: object) -> None:
        settings.SIGNUP_OPEN = False  # type: ignore[attr-defined]
        assert "losed" in client.get("/accounts/signup/").content.decode()


def test_codes_are_six_digits_and_not_all_the_same() -> None:
    codes = {code_new() for _ in range(50)}
    assert len(codes) > 40
    assert all(re.fullmatch(r"\d{6}", code) for code in codes)


def test_html_mails_escape_what_people_typed() -> None:
    assert "<script>" not in html_of("Hello <script>alert(1)</script>")


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PASSWORD = "correct horse battery"


@pytest.fixture
def dora() -> User:
    user = User.objects.create_user("dora@example.org", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def log_in(client: Client, capture: Any) -> list[str]:
    """The subjects of the mails that a log-in causes."""
    mail.outbox.clear()
    with capture(execute=True):
        answer = client.post(
            "/accounts/login/",
            {"login": "dora@example.org", "password": PASSWORD},
            headers={"user-agent": FIREFOX},
        )
    assert answer.headers["Location"] == "/dashboard"
    return [message.subject for message in mail.outbox]


class TestSecurity:
    def test_a_browser_that_was_not_used_before_is_told_of_once(
        self, dora: User, django_capture_on_commit_callbacks: Any
    ) -> None:
        one, other = Client(), Client()
        for client in (one, other):
            assert log_in(client, django_capture_on_commit_callbacks) == ["A new sign-in to Lumen"]
            assert "Firefox on Linux, from 127.0.0.1" in str(mail.outbox[0].body)
            client.post("/accounts/logout/")
            assert log_in(client, django_capture_on_commit_callbacks) == []

    def test_a_forged_cookie_makes_no_browser_known(
        self, dora: User, client: Client, django_capture_on_commit_callbacks: Any
    ) -> None:
        client.cookies["device"] = "W10:forged:forged"
        assert log_in(client, django_capture_on_commit_callbacks) == ["A new sign-in to Lumen"]

    def test_the_browser_of_the_sign_up_is_known(self, client: Client, django_capture_on_commit_callbacks: Any) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            client.post("/accounts/signup/", SIGN_UP)
            code = re.search(r"^(\d{6})$", str(mail.outbox[0].body), re.MULTILINE)
            assert code is not None
            client.post("/accounts/confirm-email/", {"code": code[1]})
        assert "device" in client.cookies
        assert not [message for message in mail.outbox if "sign-in" in message.subject]

    def test_a_changed_password_is_told_of_with_the_way_to_act(self, dora: User, client: Client) -> None:
        client.force_login(dora)
        new = {"oldpassword": PASSWORD, "password1": "another long sentence", "password2": "another long sentence"}
        client.post("/accounts/password/change/", new, headers={"user-agent": FIREFOX})
        (message,) = mail.outbox
        assert (message.to, message.subject) == (["dora@example.org"], "Password Changed")
        for words in ("Your password has been changed.", FIREFOX, "/accounts/password/change/"):
            assert words in str(message.body)
        assert "Your password has been changed." in html_part(message)

    @pytest.mark.django_db(transaction=True)
    def test_an_added_second_factor_is_told_of(self, dora: User, client: Client) -> None:
        client.force_login(dora)
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        page = client.get("/accounts/2fa/totp/activate/")
        secret = page.context["form"].secret
        code = format_hotp_value(hotp_value(secret, int(timezone.now().timestamp()) // 30))
        client.post("/accounts/2fa/totp/activate/", {"code": code})
        assert "Authenticator App Activated" in [message.subject for message in mail.outbox]


def test_devices_are_named_for_people() -> None:
    for agent, name in (
        (FIREFOX, "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36 Edg/131.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("", "an unknown program"),
    ):
        assert device_name(agent) == name


def test_a_revoked_key_is_told_to_the_owners(
    client: Client, alice: Member, bob: Member, django_capture_on_commit_callbacks: Any
) -> None:
    client.force_login(bob.user)
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):
            client.post(f"/dashboard/keys/{alice.key_id}/revoke")
    (message,) = mail.outbox
    assert (message.to, message.subject) == ([alice.user.email], "The API key Default was revoked")
    assert f"revoked by {bob.user.email}" in str(message.body)


def test_the_welcome_can_be_stopped_and_comes_with_the_call(
    client: Client, django_capture_on_commit_callbacks: Any
) -> None:
    for notices, mails in ((True, 1), (False, 0)):
        user = User.objects.create_user(f"{notices}@example.org".lower(), PASSWORD, notices=notices)
        client.force_login(user)
        mail.outbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            client.get("/dashboard/get-started")
        assert len(mail.outbox) == mails
        if mails:
            assert "curl http://testserver/api/v7/images/text-to-image" in str(mail.outbox[0].body)
            assert "/dashboard/mails/stop/" in mail.outbox[0].extra_headers["List-Unsubscribe"]
