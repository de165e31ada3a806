"""Webhooks to a real receiver: signed, told once, retried with patience, logged, and never to a private address."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from gateway.models import WebhookAttempt, WebhookDelivery
from gateway.services import generation_abort, generation_cancel, generation_settle
from gateway.webhooks_out import (
    generation_webhook_queue,
    sending,
    webhooks_due,
)
from gateway.webhooks_out.schedule import ATTEMPTS_MAX, PAUSES_S, next_attempt_at
from gateway.webhooks_out.sending import Sender
from tests.gateway.webhooks.support import BASE_URL, later, send, settled, tried, verified
from tests.support.orders import failed, place
from tests.support.receiver import reply


class TestWhatIsTold:
    def test_a_success_is_told_signed_with_its_pictures(self, alice, receiver):
        generation = settled(alice, receiver.url + "/hook", images=2)
        assert send() == 1
        body = verified(alice.account, receiver.heard[0])
        assert {name: body[name] for name in ("status", "id", "track_id", "generationTime")} == {
            "status": "success",
            "id": generation.pk,
            "track_id": "order-7",
            "generationTime": 1.2,
        }
        assert body["output"] == [f"{BASE_URL}/media/{key}" for key in generation.spec["output_keys"]]
        assert receiver.heard[0].headers["content-type"] == "application/json"
        assert WebhookDelivery.objects.get().state == "delivered"

    def test_base64_is_told_inline_when_it_was_asked_for(self, alice, receiver):
        settled(alice, receiver.url + "/hook", reply={"base64": True})
        send()
        (output,) = json.loads(receiver.heard[0].body)["output"]
        assert base64.b64decode(output) == b"the picture"

    def test_a_failure_is_told_as_failed_with_both_messages_and_no_output(self, alice, receiver):
        generation = place(alice, webhook_url=receiver.url + "/hook", track_id=7).generation
        generation_settle(generation_id=generation.pk, result=failed(generation), now=timezone.now())
        send()
        body = verified(alice.account, receiver.heard[0])
        assert (body["status"], body["id"], body["track_id"]) == ("failed", generation.pk, 7)
        assert body["message"] == body["messege"] != ""
        assert "output" not in body

    def test_an_abort_and_a_cancel_are_told_too(self, alice, receiver):
        url = receiver.url + "/hook"
        first, second = (place(alice, webhook_url=url, prompt=str(number)).generation for number in range(2))
        generation_abort(
            generation_id=first.pk, error_code="lost", error_message="No worker finished it.", now=timezone.now()
        )
        generation_cancel(account_id=alice.account.pk, generation_id=second.pk, now=timezone.now())
        send()
        assert {json.loads(heard.body)["code"] for heard in receiver.heard} == {"lost", "cancelled"}

    def test_without_an_address_nothing_is_written(self, alice):
        settled(alice, None)
        assert not WebhookDelivery.objects.exists()
        assert not webhooks_due(timezone.now())


class TestTheOutbox:
    def test_it_is_written_with_the_settlement_or_not_at_all(self, alice, receiver):
        generation = place(alice, webhook_url=receiver.url + "/hook").generation
        generation.state = "succeeded"
        with transaction.atomic():
            generation_webhook_queue(generation=generation, now=timezone.now())
            transaction.set_rollback(True)
        assert not WebhookDelivery.objects.exists()

    def test_queueing_twice_writes_once(self, alice, receiver):
        generation = settled(alice, receiver.url + "/hook")
        generation.state = "succeeded"
        generation_webhook_queue(generation=generation, now=timezone.now())
        assert WebhookDelivery.objects.count() == 1

    def test_what_was_told_is_not_told_again(self, alice, receiver):
        settled(alice, receiver.url + "/hook")
        assert webhooks_due(timezone.now())
        assert [send(), send(later(10**6))] == [1, 0]
        assert len(receiver.heard) == 1
        assert not webhooks_due(later(10**6))

    def test_a_claimed_row_is_nobody_elses_until_its_lease_ends(self, alice, receiver):
        settled(alice, receiver.url + "/hook")
        now = timezone.now()
        killed = Sender(run=lambda attempt: None)
        assert killed.send_due(now, 50) == 1
        assert send(now) == 0
        assert send(now + sending.LEASE) == 1
        row = WebhookDelivery.objects.get()
        assert (row.state, row.attempts) == ("delivered", 2)

    def test_a_message_that_kills_its_senders_is_given_up_on(self, alice, receiver):
        tried(alice, receiver.url + "/hook")
        now = timezone.now()
        killed = lambda: Sender(run=lambda attempt: None)  # noqa: E731 - a new process each time
        taken = [killed().send_due(now + number * sending.LEASE, 50) for number in range(ATTEMPTS_MAX + 1)]
        assert taken == [1] * ATTEMPTS_MAX + [0]
        assert WebhookDelivery.objects.get().state == "failed"

    def test_two_senders_that_saw_the_same_row_send_it_once(self, alice, receiver):
        settled(alice, receiver.url + "/hook")
        now = timezone.now()
        seen = [WebhookDelivery.objects.get() for _ in range(2)]
        assert [sending.webhook_claim(one, now) for one in seen] == [True, False]

    def test_without_the_claim_it_would_be_sent_twice(self, alice, receiver, monkeypatch):
        """Negative control of the two proofs above."""
        tried(alice, receiver.url + "/hook")
        now, seen = timezone.now(), []
        monkeypatch.setattr(sending, "webhook_claim", lambda delivery, now: True)
        for _ in range(2):
            Sender(run=seen.append).send_due(now, 50)
        for attempt in seen:
            attempt()
        assert len(receiver.heard) == 2


class TestRetries:
    def test_a_failing_receiver_is_tried_again_with_the_same_id_and_body_and_a_new_timestamp(self, alice, receiver):
        url = receiver.on("/hook", reply(500, body=b"database is down"))
        generation = settled(alice, url)
        send()
        row = WebhookDelivery.objects.get()
        assert (row.state, row.attempts) == ("pending", 1)
        assert 4 <= (row.next_attempt_at - timezone.now()).total_seconds() <= 6
        assert send() == 0
        time.sleep(1)
        receiver.on("/hook", reply(204))
        assert send(later(6)) == 1
        first, second = receiver.heard
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"msg_{generation.pk}"
        assert first.body == second.body
        assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
        assert verified(alice.account, second)
        assert WebhookDelivery.objects.get().state == "delivered"

    def test_each_attempt_is_logged(self, alice, receiver):
        settled(alice, receiver.on("/hook", reply(503, body=b"busy\0" + b"x" * 1000)))
        send()
        settled(alice, "https://no-such-host.invalid/hook")
        send()
        answered, unreachable = WebhookAttempt.objects.order_by("pk")
        assert (answered.number, answered.status, answered.error) == (1, 503, "")
        assert (answered.excerpt[:6], len(answered.excerpt)) == ("busyxx", 511)
        assert (unreachable.status, unreachable.excerpt) == (None, "")
        assert "its host is not known" in unreachable.error

    def test_a_receiver_that_hangs_is_given_up_on_in_time(self, alice, receiver, monkeypatch):
        monkeypatch.setattr(sending, "TIMEOUT_S", 0.3)
        settled(alice, receiver.on("/hook", lambda handler: time.sleep(1)))
        send()
        attempt = WebhookAttempt.objects.get()
        assert (attempt.status, attempt.error) == (None, "it took too long")
        assert 250 <= attempt.duration_ms < 900

    def test_after_ten_attempts_over_hours_it_has_failed(self, alice, receiver):
        settled(alice, receiver.on("/hook", reply(500)))
        now, waited = timezone.now(), timedelta()
        for _ in range(ATTEMPTS_MAX):
            assert send(now + waited) == 1
            waited += timedelta(hours=10)
            WebhookDelivery.objects.filter(state="pending").update(next_attempt_at=now + waited)
        row = WebhookDelivery.objects.get()
        assert (row.state, row.attempts, row.next_attempt_at) == ("failed", 10, None)
        assert [one.number for one in WebhookAttempt.objects.order_by("pk")] == list(range(1, 11))

    def test_the_pauses_grow_from_seconds_to_hours(self):
        now = datetime(2026, 11, 21, tzinfo=UTC)
        pauses = [(next_attempt_at(attempts=n, now=now) - now).total_seconds() for n in range(1, ATTEMPTS_MAX)]
        assert all(0.9 * plan <= pause <= 1.1 * plan for pause, plan in zip(pauses, PAUSES_S, strict=True))
        assert 12 * 3600 < sum(PAUSES_S) < 24 * 3600
        assert next_attempt_at(attempts=ATTEMPTS_MAX, now=now) is None

    def test_gone_means_gone(self, alice, receiver):
        settled(alice, receiver.on("/hook", reply(410)))
        send()
        assert WebhookDelivery.objects.get().state == "failed"

    def test_a_late_failure_does_not_disturb_a_later_attempt(self, alice, receiver):
        settled(alice, receiver.url + "/hook")
        first = WebhookDelivery.objects.get()
        now = timezone.now()
        assert sending.webhook_claim(first, now)
        second = WebhookDelivery.objects.get()
        assert sending.webhook_claim(second, now + sending.LEASE)
        sending._record(first, sending.Outcome(status=500), duration_ms=1, now=now)
        row = WebhookDelivery.objects.get()
        assert (row.state, row.attempts, row.next_attempt_at) == ("pending", 2, now + 2 * sending.LEASE)
        sending._record(first, sending.Outcome(status=200), duration_ms=1, now=now)
        assert WebhookDelivery.objects.get().state == "delivered"


class TestWhereItMayGo:
    @pytest.mark.parametrize("url", ["http://10.0.0.1/hook", "https://169.254.169.254/", "http://public.example/hook"])
    def test_a_private_or_unencrypted_address_fails_at_once_and_for_good(self, alice, url):
        settled(alice, url)
        send()
        row, attempt = WebhookDelivery.objects.get(), WebhookAttempt.objects.get()
        assert (row.state, attempt.status) == ("failed", None)
        assert "public internet" in attempt.error or "must begin with https://" in attempt.error

    def test_loopback_is_closed_unless_the_operator_opens_it(self, alice, receiver, settings):
        settings.ALLOW_PRIVATE_ADDRESSES = []
        settled(alice, receiver.url + "/hook")
        send()
        assert receiver.heard == []
        assert WebhookDelivery.objects.get().state == "failed"

    @pytest.mark.parametrize("target", ["http://10.0.0.1/", "/elsewhere"])
    def test_a_redirect_is_a_failure_and_is_not_followed(self, alice, receiver, target):
        settled(alice, receiver.on("/hook", reply(302, Location=target)))
        send()
        assert [heard.path for heard in receiver.heard] == ["/hook"]
        assert WebhookAttempt.objects.get().status == 302
        assert WebhookDelivery.objects.get().state == "pending"
