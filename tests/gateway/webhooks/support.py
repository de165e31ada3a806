"""Deliveries made by the real services, and a sender that works in the test's own thread."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from standardwebhooks import Webhook

from gateway.services import generation_settle
from gateway.webhooks_out import secret_text, webhook_secrets, webhook_test
from gateway.webhooks_out.sending import Sender
from inference.storage import get_storage
from tests.support.orders import delivered, place

BASE_URL = "https://images.example"


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
