"""The pages of deliveries: how each attempt ended, in words, and when the next one comes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from gateway.models import WebhookAttempt, WebhookDelivery
from gateway.webhooks_out import webhook_test
from tests.conftest import Member
from tests.support.orders import place

REFUSED = "it refuses connections ([Errno 111] Connection refused)"


def delivery_with(alice: Member, *, status: int | None, error: str = "") -> WebhookDelivery:
    """One that was tried once and waits for its next attempt."""
    now = timezone.now()
    delivery = webhook_test(account_id=alice.account.pk, url="https://example.com/hook", now=now)
    delivery.attempts, delivery.next_attempt_at = 1, now + timedelta(minutes=5, seconds=30)
    delivery.save()
    WebhookAttempt.objects.create(delivery=delivery, number=1, at=now, duration_ms=3, status=status, error=error)
    return delivery


def page_of(client: Client, delivery: WebhookDelivery, language: str = "en") -> str:
    answer = client.get(f"/dashboard/webhooks/{delivery.pk}", headers={"accept-language": language})
    return answer.content.decode()


@pytest.fixture
def as_alice(client: Client, alice: Member) -> Client:
    client.force_login(alice.user)
    return client


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "No answer: it refuses connections"), ("de", "Keine Antwort: der Server nimmt keine Verbindungen an")],
)
def test_a_failure_is_a_sentence_and_the_library_s_words_are_its_details(
    as_alice: Client, alice: Member, language: str, words: str
) -> None:
    page = page_of(as_alice, delivery_with(alice, status=None, error=REFUSED), language)
    assert f"{words}<details" in page
    assert '<code class="break">[Errno 111] Connection refused</code>' in page


def test_an_answer_is_told_by_its_status(as_alice: Client, alice: Member) -> None:
    page = page_of(as_alice, delivery_with(alice, status=503))
    assert "Answered 503" in page
    assert "<summary>Details" not in page


def test_a_pending_one_says_when_it_is_tried_next(as_alice: Client, alice: Member) -> None:
    delivery = delivery_with(alice, status=503)
    page = page_of(as_alice, delivery)
    assert "Next attempt" in page
    assert "in 5\N{NO-BREAK SPACE}min" in page
    WebhookDelivery.objects.filter(pk=delivery.pk).update(attempts=2)  # as a sender claims it
    assert "<dd>under way</dd>" in page_of(as_alice, delivery)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (200, "", "Webhook delivered: answered 200"),
        (500, "", "Webhook not delivered: answered 500"),
        (None, REFUSED, "Webhook not delivered: it refuses connections<"),
    ],
)
def test_a_call_s_timeline_says_whether_its_webhook_arrived(
    as_alice: Client, alice: Member, status: int | None, error: str, words: str
) -> None:
    call = place(alice, webhook_url="https://example.com/hook").generation
    delivery = delivery_with(alice, status=status, error=error)
    WebhookDelivery.objects.filter(pk=delivery.pk).update(generation_id=call.pk)
    assert words in as_alice.get(f"/dashboard/requests/{call.pk}").content.decode()
