"""Signatures of outgoing webhooks, by the Standard Webhooks scheme (https://www.standardwebhooks.com).

A secret is derived from the installation's own secret and a salt, so that a copy of the database signs nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from standardwebhooks import Webhook

from gateway.models import WebhookSecret

ROTATION_OVERLAP = timedelta(hours=24)


def secret_text(secret: WebhookSecret) -> str:
    """The secret as its owner copies it (`whsec_...`)."""
    purpose = f"webhook-secret:{secret.account_id}:{secret.salt}"
    digest = hmac.new(settings.API_KEY_PEPPER.encode(), purpose.encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(digest).decode()


def webhook_secrets(*, account_id: int, now: datetime) -> list[WebhookSecret]:
    """The secrets that sign now, newest first; an account's first one is made when it is first needed."""
    active = _active(account_id, now)
    if not active or active[0].expires_at is not None:
        _create(account_id, now)
        active = _active(account_id, now)
    return active


def webhook_secret_rotate(*, account_id: int, now: datetime, overlap: timedelta = ROTATION_OVERLAP) -> WebhookSecret:
    """A new secret signs from now on; the former ones sign beside it for `overlap`, while receivers are changed."""
    with transaction.atomic():
        WebhookSecret.objects.filter(account_id=account_id, expires_at__isnull=True).update(expires_at=now + overlap)
        if not overlap:
            WebhookSecret.objects.filter(account_id=account_id, expires_at__gt=now).update(expires_at=now)
        return _create(account_id, now)


def signed_headers(
    secrets_active: Sequence[WebhookSecret], *, message_id: str, body: str, now: datetime
) -> dict[str, str]:
    """The three headers of the scheme, with one signature per secret: a receiver needs to know one of them."""
    signatures = [Webhook(secret_text(one)).sign(message_id, now, body) for one in secrets_active]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _active(account_id: int, now: datetime) -> list[WebhookSecret]:
    alive = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    return list(WebhookSecret.objects.filter(alive, account_id=account_id).order_by("-pk"))


def _create(account_id: int, now: datetime) -> WebhookSecret:
    """The newest secret of the account; two that are made at once are one."""
    try:
        with transaction.atomic():
            return WebhookSecret.objects.create(account_id=account_id, salt=secrets.token_hex(16), created_at=now)
    except IntegrityError:
        return WebhookSecret.objects.get(account_id=account_id, expires_at__isnull=True)
