"""Reports of leaked keys: believed only when signed, and then the key is dead and its people know."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core import mail
from django.core.cache import cache

from accounts.events import events_of
from accounts.models import ApiKey, Membership, Role
from gateway import leaks
from gateway.errors import FetchFailed
from gateway.http import Fetched

HOST = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(autouse=True)
def _published_keys(monkeypatch):
    cache.clear()
    pem = HOST.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    body = json.dumps({"public_keys": [{"key_identifier": "k1", "key": pem, "is_current": True}]}).encode()
    monkeypatch.setattr(leaks, "http_fetch", lambda url, **_: Fetched(url=url, content_type="", body=body))


def report(client, findings, *, key_id="k1", signed=None):
    body = json.dumps(findings).encode()
    signature = base64.b64encode(HOST.sign(body if signed is None else signed, ec.ECDSA(SHA256()))).decode()
    headers = {"Github-Public-Key-Identifier": key_id, "Github-Public-Key-Signature": signature}
    return client.post("/security/leaked-keys", body, content_type="application/json", headers=headers)


def finding(text):
    return {"token": text, "type": "api_key", "url": "https://example.com/leak", "source": "content"}


def test_a_leaked_key_is_revoked_recorded_and_told(client, alice, bob, django_capture_on_commit_callbacks):
    Membership.objects.filter(user=bob.user).update(role=Role.VIEWER)
    with django_capture_on_commit_callbacks(execute=True):
        answer = report(client, [finding(alice.key)])
    assert answer.json() == [{"token_raw": alice.key, "token_type": "api_key", "label": "true_positive"}]
    assert ApiKey.objects.get(pk=alice.key_id).revoked_at is not None
    assert "leak was reported" in events_of(alice.account).first().action
    assert [message.to for message in mail.outbox] == [["alice@example.org"]]
    assert "https://example.com/leak" in mail.outbox[0].body
    assert alice.key not in mail.outbox[0].body
    assert ApiKey.objects.get(pk=bob.key_id).revoked_at is None


def test_a_second_report_tells_nobody_again(client, alice, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):
            assert report(client, [finding(alice.key)]).json()[0]["label"] == "true_positive"
    assert len(mail.outbox) == 1


def test_what_only_looks_like_a_key_is_a_false_positive(client, alice):
    from accounts import keys

    for text in (keys.mint(prefix="img").text, "img_live_nonsense", ""):
        assert report(client, [finding(text)]).json()[0]["label"] == "false_positive"


@pytest.mark.parametrize("changes", [{"signed": b"other"}, {"key_id": "k2"}])
def test_without_the_right_signature_nothing_happens(client, alice, changes):
    assert report(client, [finding(alice.key)], **changes).status_code == 400
    assert ApiKey.objects.get(pk=alice.key_id).revoked_at is None


@pytest.mark.parametrize("findings", [{}, [1], [{"type": "x"}]])
def test_nonsense_is_refused_in_words(client, alice, findings):
    assert report(client, findings).status_code == 400


def test_when_the_keys_cannot_be_fetched_the_host_may_try_again(client, alice, monkeypatch):
    def broken(url, **_):
        raise FetchFailed(url=url, reason="it took too long")

    monkeypatch.setattr(leaks, "http_fetch", broken)
    answer = report(client, [finding(alice.key)])
    assert (answer.status_code, "send it again" in answer.json()["message"]) == (400, True)


def test_an_operator_can_close_it(client, alice, settings):
    settings.LEAK_REPORT_KEYS_URL = ""
    assert report(client, [finding(alice.key)]).status_code == 404
