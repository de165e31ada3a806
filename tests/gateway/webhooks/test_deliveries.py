"""Webhooks to a real receiver: signed, told once, retried with patience, logged, and never to a private address."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.errors import AddressRefused, WebhookNotFound
from gateway.models import WebhookAttempt, WebhookDelivery, WebhookReceiver, WebhookSecret
from gateway.services import generation_abort, generation_cancel, generation_settle
from gateway.webhooks_out import (
    delivery_of,
    generation_webhook_queue,
    secret_text,
    sending,
    webhook_receiver_resume,
    webhook_resend,
    webhook_secret_rotate,
    webhook_secrets,
    webhook_test,
    webhooks_due,
    webhooks_forget,
)
from gateway.webhooks_out.schedule import ATTEMPTS_MAX, PAUSES_S, next_attempt_at
from gateway.webhooks_out.sending import PER_ORIGIN_MAX, THREADS, Sender
from inference.storage import get_storage
from tests.support.orders import delivered, failed, place
from tests.support.receiver import receiving, reply

BASE_URL = "https://images.example"


@pytest.fixture(autouse=True)
def opened(settings, tmp_path, monkeypatch):
    settings.ALLOW_PRIVATE_ADDRESSES = ["loopback"]
    monkeypatch.setenv("STORAGE_URL", f"file://{tmp_path}")


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server


def settled(member, url, *, images=1, track_id="order-7", reply=None):
    generation = place(
        member, webhook_url=url, track_id=track_id, samples=images, reply={"base_url": BASE_URL} | (reply or {})
    ).generation
    for key in generation.spec["output_keys"]:
        get_storage().write(key, b"the picture", "image/png")
    generation_settle(generation_id=generation.pk, result=delivered(generation), now=timezone.now())
    return generation


def tried(member, url):
    """A test message: as good as any where its contents do not matter."""
    return webhook_test(account_id=member.account.pk, url=url, now=timezone.now())


def send(now=None, *, limit=50):
    """Send what is due, in this thread."""
    return Sender(run=lambda attempt: attempt()).send_due(now or timezone.now(), limit)


def later(seconds):
    return timezone.now() + timedelta(seconds=seconds)


def verified(account, heard):
    (secret, *_) = webhook_secrets(account_id=account.pk, now=timezone.now())
    return Webhook(secret_text(secret)).verify(heard.body, heard.headers)


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


class TestSecrets:
    def test_a_stranger_cannot_sign_and_an_altered_body_does_not_verify(self, alice, charlie, receiver):
        settled(alice, receiver.url + "/hook")
        send()
        (heard,) = receiver.heard
        with pytest.raises(WebhookVerificationError):
            verified(charlie.account, heard)
        (secret,) = webhook_secrets(account_id=alice.account.pk, now=timezone.now())
        with pytest.raises(WebhookVerificationError):
            Webhook(secret_text(secret)).verify(heard.body.replace(b"order-7", b"order-8"), heard.headers)

    def test_the_secret_is_not_in_the_database(self, alice):
        (secret,) = webhook_secrets(account_id=alice.account.pk, now=timezone.now())
        text = secret_text(secret)
        assert text.startswith("whsec_")
        assert text.removeprefix("whsec_") not in str(WebhookSecret.objects.values().get())

    def test_while_it_is_rotated_both_secrets_verify(self, alice, receiver):
        now = timezone.now()
        (old,) = webhook_secrets(account_id=alice.account.pk, now=now)
        new = webhook_secret_rotate(account_id=alice.account.pk, now=now)
        settled(alice, receiver.url + "/hook")
        send()
        for secret in (old, new):
            assert Webhook(secret_text(secret)).verify(receiver.heard[0].body, receiver.heard[0].headers)
        assert webhook_secrets(account_id=alice.account.pk, now=now + timedelta(hours=25)) == [new]

    def test_a_leaked_secret_ends_at_once(self, alice):
        now = timezone.now()
        webhook_secrets(account_id=alice.account.pk, now=now)
        webhook_secret_rotate(account_id=alice.account.pk, now=now)
        new = webhook_secret_rotate(account_id=alice.account.pk, now=now, overlap=timedelta())
        assert webhook_secrets(account_id=alice.account.pk, now=now) == [new]

    def test_asking_twice_makes_one(self, alice):
        first, second = (webhook_secrets(account_id=alice.account.pk, now=timezone.now()) for _ in range(2))
        assert first == second
        assert WebhookSecret.objects.count() == 1


class TestTheOwner:
    def test_a_message_is_sent_again_under_its_id(self, alice, receiver):
        settled(alice, receiver.url + "/hook")
        send()
        row = WebhookDelivery.objects.get()
        webhook_resend(account_id=alice.account.pk, delivery_id=row.pk, now=timezone.now())
        assert send() == 1
        assert len({heard.headers["webhook-id"] for heard in receiver.heard}) == 1
        assert len(receiver.heard) == 2
        assert WebhookAttempt.objects.count() == 2

    def test_a_failed_message_starts_its_schedule_anew(self, alice, receiver):
        settled(alice, receiver.on("/hook", reply(410)))
        send()
        row = WebhookDelivery.objects.get()
        webhook_resend(account_id=alice.account.pk, delivery_id=row.pk, now=timezone.now())
        row.refresh_from_db()
        assert (row.state, row.attempts) == ("pending", 0)

    def test_a_strangers_message_is_not_found(self, alice, charlie, receiver):
        settled(alice, receiver.url + "/hook")
        row = WebhookDelivery.objects.get()
        with pytest.raises(WebhookNotFound):
            webhook_resend(account_id=charlie.account.pk, delivery_id=row.pk, now=timezone.now())
        with pytest.raises(WebhookNotFound):
            delivery_of(account_id=charlie.account.pk, delivery_id=row.pk)
        assert WebhookDelivery.objects.get().attempts == 0

    def test_a_receiver_is_tried_with_a_test_message(self, alice, receiver):
        webhook_test(account_id=alice.account.pk, url=receiver.url + "/hook", now=timezone.now())
        send()
        assert verified(alice.account, receiver.heard[0])["status"] == "test"

    def test_a_test_to_a_forbidden_address_is_refused_at_once(self, alice):
        with pytest.raises(AddressRefused):
            webhook_test(account_id=alice.account.pk, url="https://192.168.0.1/", now=timezone.now())
        assert not WebhookDelivery.objects.exists()

    def test_old_deliveries_are_forgotten_with_their_attempts_but_never_pending_ones(self, alice, receiver):
        settled(alice, receiver.url + "/hook")
        send()
        settled(alice, receiver.url + "/hook")
        assert webhooks_forget(timezone.now()) == 0
        assert webhooks_forget(timezone.now() + timedelta(days=31)) == 1
        assert WebhookDelivery.objects.get().state == "pending"
        assert not WebhookAttempt.objects.exists()


class TestPausedReceivers:
    def fail_for(self, alice, receiver, *, days):
        """A receiver that has been failing for so long, with one more message for it."""
        settled(alice, receiver.on("/hook", reply(500)))
        send()
        WebhookReceiver.objects.update(failures_in_row=19, failing_since=timezone.now() - timedelta(days=days))
        settled(alice, receiver.url + "/hook")
        send()

    def test_after_a_day_of_failures_its_messages_wait_for_the_owner(self, alice, receiver, caplog):
        self.fail_for(alice, receiver, days=2)
        assert {row.state for row in WebhookDelivery.objects.all()} == {"paused"}
        assert "are paused" in caplog.text
        heard = len(receiver.heard)
        settled(alice, receiver.url + "/hook")
        assert send() == 0
        assert len(receiver.heard) == heard
        assert WebhookDelivery.objects.latest("pk").state == "paused"

    def test_many_failures_within_a_day_pause_nothing(self, alice, receiver):
        self.fail_for(alice, receiver, days=0)
        assert {row.state for row in WebhookDelivery.objects.all()} == {"pending"}

    def test_the_owner_resumes_it_and_all_waiting_messages_go(self, alice, receiver):
        self.fail_for(alice, receiver, days=2)
        receiver.on("/hook", reply(200))
        origin = WebhookReceiver.objects.get().origin
        assert webhook_receiver_resume(account_id=alice.account.pk, origin=origin, now=timezone.now()) == 2
        assert send() == 2
        assert {row.state for row in WebhookDelivery.objects.all()} == {"delivered"}

    def test_a_success_forgets_the_failures_and_strangers_are_not_touched(self, alice, charlie, receiver):
        settled(alice, receiver.on("/hook", reply(500)))
        settled(charlie, receiver.url + "/hook")
        send()
        receiver.on("/hook", reply(200))
        WebhookDelivery.objects.filter(account_id=alice.account.pk).update(next_attempt_at=timezone.now())
        send()
        failures = dict(WebhookReceiver.objects.values_list("account_id", "failures_in_row"))
        assert failures == {alice.account.pk: 0, charlie.account.pk: 1}


class TestSharing:
    def test_a_hanging_receiver_takes_a_few_threads_and_the_others_go_on(self, alice, receiver):
        for _ in range(PER_ORIGIN_MAX + 3):
            tried(alice, "https://hanging.example/hook")
        tried(alice, receiver.url + "/hook")
        given = []
        sender = Sender(run=given.append)
        assert sender.send_due(timezone.now(), 50) == PER_ORIGIN_MAX + 1
        assert sender.send_due(timezone.now(), 50) == 0

    def test_no_more_are_taken_on_than_there_are_threads(self, alice):
        for number in range(THREADS + 4):
            tried(alice, f"https://receiver-{number}.example/hook")
        assert Sender(run=lambda attempt: None).send_due(timezone.now(), 50) == THREADS

    def test_a_row_that_cannot_be_composed_is_logged_and_comes_back(self, alice, receiver, caplog):
        generation = settled(alice, receiver.url + "/hook", reply={"base64": True})
        get_storage().delete(generation.spec["output_keys"][0])
        sender = Sender(run=lambda attempt: attempt())
        assert sender.send_due(timezone.now(), 50) == 1
        assert "could not be attempted" in caplog.text
        assert sender._busy.total() == 0
        assert WebhookDelivery.objects.get().state == "pending"


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_many_workers_send_each_message_once(alice, receiver):
    """Four senders with threads of their own on one table: every message is heard exactly once."""
    for number in range(12):
        tried(alice, receiver.url + f"/hook-{number}")
    senders = [Sender() for _ in range(4)]
    deadline_s = time.monotonic() + 30
    while WebhookDelivery.objects.exclude(state="delivered").exists() and time.monotonic() < deadline_s:
        for sender in senders:
            sender.send_due(timezone.now(), 50)
        time.sleep(0.05)
    assert sorted(heard.path for heard in receiver.heard) == sorted(f"/hook-{number}" for number in range(12))
