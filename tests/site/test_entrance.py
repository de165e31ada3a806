"""The door's rarely seen pages: a lost mail, too many tries, a new password, and the second step with its codes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.core import mail
from django.test import Client
from django.utils import timezone

from tests.conftest import Member

PASSWORD = "correct horse battery"
DE = {"accept-language": "de"}


def newest_code() -> str:
    found = re.search(r"^([0-9A-Z-]{6,9})$", str(mail.outbox[-1].body), re.MULTILINE)
    assert found is not None
    return found[1]


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


@pytest.fixture
def confirmed(alice: Member) -> Member:
    EmailAddress.objects.create(user=alice.user, email=alice.user.email, verified=True, primary=True)
    return alice


@pytest.mark.usefixtures("catalogue")
class TestACodeByMail:
    def test_a_lost_one_is_sent_again_and_only_the_new_one_counts(self, client: Client) -> None:
        client.post("/accounts/signup/", {"email": "dora@example.org", "password1": "an old sentence it is"})
        lost = newest_code()
        page = text_of(client.get("/accounts/confirm-email/"))
        assert "Send a new code" in page
        assert 'inputmode="numeric"' in page
        assert "placeholder" not in page.partition("<main")[2]
        with time_machine.travel(timezone.now() + timedelta(seconds=30)):
            again = client.post("/accounts/confirm-email/", {"action": "resend"}, follow=True)
            assert "A new code was sent to dora@example.org." in text_of(again)
            assert len(mail.outbox) == 2
            assert "Incorrect code" in text_of(client.post("/accounts/confirm-email/", {"code": lost}))
            assert client.post("/accounts/confirm-email/", {"code": newest_code()}).status_code == 302

    def test_who_asks_for_too_many_is_told_in_the_site_s_look(self, client: Client) -> None:
        client.post("/accounts/signup/", {"email": "dora@example.org", "password1": "an old sentence it is"})
        answer = client.post("/accounts/confirm-email/", {"action": "resend"}, headers=DE)
        assert answer.status_code == 429
        assert "Zu viele Versuche" in text_of(answer)
        assert answer.headers["X-Request-Id"] in text_of(answer)
        assert len(mail.outbox) == 1

    def test_a_lost_reset_code_is_asked_for_again(self, client: Client, confirmed: Member) -> None:
        client.post("/accounts/password/reset/", {"email": confirmed.user.email})
        page = text_of(client.get("/accounts/password/reset/confirm/"))
        assert '<a href="/accounts/password/reset/">Send a new code</a>' in page
        first = newest_code()
        assert client.get("/accounts/password/reset/").status_code == 200
        client.post("/accounts/password/reset/", {"email": confirmed.user.email})
        assert newest_code() != first

    def test_a_new_password_leads_back_to_the_log_in(self, client: Client, confirmed: Member) -> None:
        client.post("/accounts/password/reset/", {"email": confirmed.user.email})
        client.post("/accounts/password/reset/confirm/", {"code": newest_code()})
        form = text_of(client.get("/accounts/password/reset/complete/"))
        assert "placeholder" not in form.partition("<main")[2]
        fields = {"password1": "a newer sentence it is", "password2": "a newer sentence it is"}
        page = text_of(client.post("/accounts/password/reset/complete/", fields, follow=True))
        assert "Your new password is set" in page
        assert 'href="/accounts/login/">Log in' in page


class TestTheSecondStep:
    def test_an_app_is_set_up_with_its_first_code(self, client: Client, confirmed: Member) -> None:
        client.force_login(confirmed.user)
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        assert "Set up an app" in text_of(client.get("/accounts/2fa/"))
        page = text_of(client.get("/accounts/2fa/totp/activate/"))
        found = re.search(r'data-copy="([A-Z2-7]+)"', page)
        assert found is not None
        assert "otpauth://totp/" in page
        assert "Incorrect code" in text_of(client.post("/accounts/2fa/totp/activate/", {"code": "000000"}))
        counter = next(iter(yield_hotp_counters_from_time()))
        code = format_hotp_value(hotp_value(found[1], counter))
        answer = client.post("/accounts/2fa/totp/activate/", {"code": code}, follow=True)
        assert "10 of 10 are left." in text_of(answer)

    @pytest.fixture
    def guarded(self, confirmed: Member) -> Member:
        TOTP.activate(confirmed.user, generate_totp_secret())
        RecoveryCodes.activate(confirmed.user)
        return confirmed

    def test_it_takes_a_recovery_code_and_refuses_a_wrong_one(self, client: Client, guarded: Member) -> None:
        client.post("/accounts/login/", {"login": guarded.user.email, "password": PASSWORD})
        page = text_of(client.get("/accounts/2fa/authenticate/", headers=DE))
        assert "Der zweite Schritt" in page
        assert "mfa_webauthn_authenticate" not in page, "a key is offered to somebody who has none"
        assert "Incorrect code" in text_of(client.post("/accounts/2fa/authenticate/", {"code": "000000"}))
        kept = Authenticator.objects.get(user=guarded.user, type=Authenticator.Type.RECOVERY_CODES).wrap()
        answer = client.post("/accounts/2fa/authenticate/", {"code": kept.get_unused_codes()[0]})
        assert answer.headers["Location"] == "/dashboard"

    def test_keys_are_listed_renamed_and_removed_in_the_site_s_own_words(
        self, client: Client, confirmed: Member
    ) -> None:
        client.force_login(confirmed.user)
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        assert "Als Passkey benutzen" in text_of(client.get("/accounts/2fa/webauthn/add/", headers=DE))
        key = Authenticator.objects.create(
            user=confirmed.user,
            type=Authenticator.Type.WEBAUTHN,
            data={"name": "Blue key", "credential": {"clientExtensionResults": {"credProps": {"rk": True}}}},
        )
        listed = text_of(client.get("/accounts/2fa/webauthn/", headers=DE))
        for words in ("Blue key", "Passkey", "nie benutzt", "Umbenennen"):
            assert words in listed
        client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/edit/", {"name": "Red key"})
        assert "Remove Red key?" in text_of(client.get(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/"))
        client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")
        assert "There is none yet." in text_of(client.get("/accounts/2fa/webauthn/"))

    def test_its_codes_are_shown_renewed_and_its_app_removed(self, client: Client, guarded: Member) -> None:
        client.force_login(guarded.user)
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        for path, words in (
            ("/accounts/2fa/", "Show codes"),
            ("/accounts/2fa/recovery-codes/", "10 of 10 are left."),
            ("/accounts/2fa/recovery-codes/generate/", "the codes that you have now stop working"),
            ("/accounts/2fa/totp/deactivate/", "Remove the authenticator app"),
        ):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert words in text_of(answer)
        client.post("/accounts/2fa/totp/deactivate/")
        assert not Authenticator.objects.filter(user=guarded.user, type=Authenticator.Type.TOTP).exists()


@pytest.mark.parametrize(
    ("path", "english", "german"),
    [
        ("/accounts/password/change/", "Change the password", "Bisheriges Passwort"),
        ("/accounts/email/", "E-mail addresses", "Hauptadresse"),
        ("/accounts/logout/", "Log out", "Abmelden"),
        ("/accounts/2fa/webauthn/", "There is none yet.", "Noch gibt es keinen."),
        ("/accounts/2fa/webauthn/add/", "Use it as a passkey", "Als Passkey benutzen"),
    ],
)
def test_allauth_s_pages_speak_our_words(
    client: Client, confirmed: Member, path: str, english: str, german: str
) -> None:
    client.force_login(confirmed.user)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = text_of(client.get(path)).partition("<main")[2]
    assert english in page
    assert not re.search(r"(Change|Current|New) Password|Email\b|Sign Out|Security Key", page)
    assert german in text_of(client.get(path, headers=DE))


def test_who_has_no_password_sets_one(client: Client, confirmed: Member) -> None:
    confirmed.user.set_unusable_password()
    confirmed.user.save()
    client.force_login(confirmed.user)
    assert "Set a password" in text_of(client.get("/accounts/password/change/", follow=True))
    new = {"password1": "a newer sentence it is", "password2": "a newer sentence it is"}
    client.post("/accounts/password/set/", new)
    confirmed.user.refresh_from_db()
    assert confirmed.user.check_password(new["password1"])


@pytest.mark.parametrize("page", ["login", "signup"])
@pytest.mark.usefixtures("catalogue")
def test_who_was_invited_is_told_what_to_do(client: Client, page: str) -> None:
    words = "with the address that the invitation came to"
    assert words in text_of(client.get(f"/accounts/{page}/?next=/dashboard/team/join/abc"))
    assert words not in text_of(client.get(f"/accounts/{page}/"))


@pytest.mark.usefixtures("catalogue")
def test_a_wrong_password_is_told_plainly(client: Client) -> None:
    page = text_of(client.post("/accounts/login/", {"login": "x@example.org", "password": "x"}))
    assert "The address or the password is wrong." in page


@pytest.mark.usefixtures("catalogue")
def test_who_tries_too_often_is_called_sie(client: Client) -> None:
    for _ in range(6):
        page = text_of(client.post("/accounts/login/", {"login": "x@example.org", "password": "x"}, headers=DE))
    assert "Versuchen Sie es in einigen Minuten noch einmal." in page


@pytest.mark.usefixtures("catalogue")
def test_a_closed_sign_up_leads_to_the_log_in(client: Client, settings: Any) -> None:
    settings.SIGNUP_OPEN = False
    page = text_of(client.get("/accounts/signup/"))
    assert "New accounts are closed for now" in page
    assert 'href="/accounts/login/"' in page


def test_a_form_that_is_too_large_is_told_so(client: Client, alice: Member, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    client.force_login(alice.user)
    answer = client.post("/dashboard/keys/new", {"name": "x" * 2_000})
    assert answer.status_code == 413
    assert "That is too large" in text_of(answer)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/accounts/inactive/", "Dieser Zugang ist geschlossen"),
        ("/accounts/3rdparty/login/cancelled/", "Sie haben die Anmeldung abgebrochen"),
        ("/accounts/3rdparty/login/error/", "Der andere Dienst hat Sie nicht angemeldet"),
        ("/accounts/password/reset/done/", "Ihr neues Passwort ist gesetzt"),
    ],
)
@pytest.mark.usefixtures("catalogue")
def test_no_end_is_a_dead_one(client: Client, path: str, words: str) -> None:
    page = text_of(client.get(path, headers=DE)).partition("<main")[2]
    assert words in page
    assert 'href="/accounts/login/"' in page
