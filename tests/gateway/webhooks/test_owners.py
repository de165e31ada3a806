"""Who rules over webhooks: secrets, resending, paused receivers, and a fair share of the threads."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.errors import AddressRefused, WebhookNotFound
from gateway.models import WebhookAttempt, WebhookDelivery, WebhookReceiver, WebhookSecret
from gateway.webhooks_out import (
    delivery_of,
    secret_text,
    webhook_receiver_resume,
    webhook_resend,
    webhook_secret_rotate,
    webhook_secrets,
    webhook_test,
    webhooks_forget,
)
from gateway.webhooks_out.sending import PER_ORIGIN_MAX, THREADS, Sender
from inference.models import Generation
from tests.gateway.webhooks.support import send, settled, tried, verified
from tests.support.receiver import reply


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
        generation = settled(alice, receiver.url + "/hook")
        Generation.objects.filter(pk=generation.pk).update(spec={})
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
