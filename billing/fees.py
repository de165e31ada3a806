"""What the payment provider keeps of each movement, copied from its list for the operator's margin.

Fees are the house's cost and stand in no account's books. Until the list was read, they are unknown.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from billing import stripe_client
from billing.customers import mode_now
from billing.models import FeeCursor, ProviderFee

# As far back as the first reading looks, and as much as lists may lag.
FIRST_LOOK = timedelta(days=90)
OVERLAP = timedelta(hours=1)
WINDOW = timedelta(days=7)
EVERY = timedelta(minutes=15)


def fees_read(*, now: datetime) -> int:
    """Everything since the last reading; how many were new. The cursor moves window by window, so that an outage loses
    nothing of what was read. Raises PaymentProviderUnavailable."""
    mode = mode_now()
    cursor = FeeCursor.objects.filter(pk=mode).first()
    if cursor and now - cursor.read_until < EVERY:
        return 0
    since = (cursor.read_until if cursor else now - FIRST_LOOK) - OVERLAP
    new = 0
    while since < now:
        # A day more than now, as the provider's clock may be ahead of ours.
        until = since + WINDOW
        end = until if until <= now else now + timedelta(days=1)
        listed = stripe_client.balance_transactions_list(
            created_from_s=int(since.timestamp()), created_before_s=int(end.timestamp())
        )
        rows = [
            ProviderFee(
                transaction_id=one["id"],
                mode=mode,
                kind=str(one["type"])[:40],
                fee_cents=one["fee"],
                currency=one["currency"],
                created_at=datetime.fromtimestamp(one["created"], UTC),
            )
            for one in listed
            if one["fee"]
        ]
        before = ProviderFee.objects.filter(pk__in=[row.pk for row in rows]).count()
        ProviderFee.objects.bulk_create(rows, ignore_conflicts=True)
        new += len(rows) - before
        FeeCursor.objects.update_or_create(mode=mode, defaults={"read_until": min(until, now)})
        since = until
    return new
