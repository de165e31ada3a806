"""What an account is told by webhook of its spending: the same facts as its mails, to one address of its own choice."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from gateway.http import url_checked
from gateway.models import AlertAddress, WebhookDelivery
from gateway.webhooks_out.services import origin_of


def alert_address(*, account_id: int) -> str:
    """Empty for an account that wants no such messages."""
    return AlertAddress.objects.filter(pk=account_id).values_list("url", flat=True).first() or ""


def alert_address_set(*, account_id: int, url: str) -> None:
    """Empty ends them. Raises AddressRefused for an address never sent to."""
    if not url:
        AlertAddress.objects.filter(pk=account_id).delete()
        return
    url_checked(url, plain_http=False)
    AlertAddress.objects.update_or_create(account_id=account_id, defaults={"url": url})


def alert_queue(*, account_id: int, notice_id: int, facts: dict[str, Any], now: datetime, **_: object) -> None:
    """In the transaction that notes the fact: the row is the outbox. Nothing without an address."""
    url = alert_address(account_id=account_id)
    if not url:
        return
    delivery = WebhookDelivery(
        message_id=f"msg_notice_{notice_id}",
        account_id=account_id,
        event=str(facts["event"]),
        url=url,
        origin=origin_of(url),
        body=json.dumps(facts | {"created_at": now.isoformat()}),
        next_attempt_at=now,
        created_at=now,
    )
    WebhookDelivery.objects.bulk_create([delivery], ignore_conflicts=True)
