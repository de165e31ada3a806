"""Verifies webhook bodies. It decides only whether Stripe wrote them, just now, for this installation's mode."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from billing.errors import PaymentsNotConfigured
from billing.stripe_client.connection import API_VERSION, Plain
from billing.stripe_client.library import stripe

TOLERANCE_S = 300

logger = logging.getLogger(__name__)


class WebhookRejected(Exception):
    """A body that is not to be believed. `reason` is one word for the log: signature, timestamp, body, mode or kind."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"webhook rejected: {reason}")
        self.reason = reason


def webhook_construct(
    *,
    body: bytes,
    signature: str | None,
    secrets: Sequence[str],
    livemode: bool,
    now_s: int,
    tolerance_s: int = TOLERANCE_S,
) -> Plain:
    """The event inside a body that carries a good signature by one of the secrets.

    Raises PaymentsNotConfigured without a secret, and WebhookRejected for a wrong or missing signature, a time outside
    the tolerance (the library itself looks only backwards), a body that is no snapshot event, or the other mode.
    """
    usable = [secret for secret in secrets if secret.strip()]
    if not usable:
        raise PaymentsNotConfigured(reason="no webhook secret")
    if not signature:
        raise WebhookRejected("signature")
    _check_signature(body, signature, usable, tolerance_s)
    if _signed_at(signature) > now_s + tolerance_s:
        raise WebhookRejected("timestamp")
    event = _event(body)
    if event.get("livemode") is not livemode:
        raise WebhookRejected("mode")
    if event.get("api_version") != API_VERSION:
        logger.error(
            "stripe event %s is of API version %s, expected %s", event["id"], event.get("api_version"), API_VERSION
        )
    return event


def _check_signature(body: bytes, signature: str, secrets: Sequence[str], tolerance_s: int) -> None:
    for secret in secrets:
        try:
            stripe.WebhookSignature.verify_header(body, signature, secret, tolerance_s)
        except stripe.SignatureVerificationError as error:
            if "tolerance" in (error.user_message or ""):
                raise WebhookRejected("timestamp") from None
        except UnicodeDecodeError:
            raise WebhookRejected("body") from None
        else:
            return
    raise WebhookRejected("signature")


def _signed_at(signature: str) -> int:
    """The first timestamp of the header, the one that the library verified."""
    parts = (part.partition("=") for part in signature.split(","))
    return next(int(value) for name, _, value in parts if name == "t")


def _event(body: bytes) -> Plain:
    try:
        event: Any = json.loads(body)
    except ValueError:
        raise WebhookRejected("body") from None
    if not isinstance(event, dict) or event.get("object") != "event" or not isinstance(event.get("id"), str):
        raise WebhookRejected("kind")  # thin notifications (v2.core.event) have a route of their own or none
    return event
