"""Who must be told about balance and spending. Reads the roll-up and the wallets; mails go out once per fact."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, Q, Sum

from accounts.models import ApiKey
from billing import mails
from billing.entitlements import month_of
from billing.models import EntryKind, LedgerEntry, SpendMonth, UsageBucket, Wallet
from billing.spending import INVOICED, month_day

STEPS_PERCENT = (50, 75, 100)


def notices_send(*, now: datetime) -> None:
    _accounts(now)
    _postpaid(now)
    _keys(now)
    _low_balances(now)


def spent_in_month(*, account_id: int, now: datetime, key_id: int | None = None) -> int:
    """Micro-dollars charged this month, by the roll-up."""
    rows = UsageBucket.objects.filter(account_id=account_id, bucket__gte=month_of(now))
    if key_id is not None:
        rows = rows.filter(key_id=key_id)
    return rows.aggregate(s=Sum("amount_microusd"))["s"] or 0


def _accounts(now: datetime) -> None:
    watched = Wallet.objects.filter(Q(spend_limit_microusd__gt=0) | Q(spend_warn_microusd__gt=0))
    for wallet in watched.iterator():
        spent = spent_in_month(account_id=wallet.pk, now=now)
        if wallet.spend_limit_microusd:
            _steps(wallet.pk, "Your account", "account", spent, wallet.spend_limit_microusd, now)
        if wallet.spend_warn_microusd and spent >= wallet.spend_warn_microusd:
            mails.spending_warned(
                account_id=wallet.pk,
                key=f"spend-warn:{month_of(now):%Y-%m}:{wallet.spend_warn_microusd}",
                warn_microusd=wallet.spend_warn_microusd,
                now=now,
            )


def _postpaid(now: datetime) -> None:
    rows = SpendMonth.objects.filter(key_id=INVOICED, month=month_day(now))
    counted = dict(rows.values_list("account_id", "counted_microusd"))
    for wallet in Wallet.objects.filter(pk__in=counted, postpaid_limit_microusd__gt=0):
        assert wallet.postpaid_limit_microusd is not None
        _steps(wallet.pk, "Post-paid use", "postpaid", counted[wallet.pk], wallet.postpaid_limit_microusd, now)


def _keys(now: datetime) -> None:
    watched = Q(budget_microusd__gt=0) | Q(warn_microusd__gt=0)
    for key in ApiKey.objects.filter(watched, revoked_at=None).iterator():
        spent, scope = spent_in_month(account_id=key.account_id, now=now, key_id=key.pk), f'The key "{key.name}"'
        if key.budget_microusd:
            _steps(key.account_id, scope, f"key{key.pk}", spent, key.budget_microusd, now)
        if key.warn_microusd and spent >= key.warn_microusd:
            mails.spending_warned(
                account_id=key.account_id,
                key=f"spend-warn:key{key.pk}:{month_of(now):%Y-%m}:{key.warn_microusd}",
                warn_microusd=key.warn_microusd,
                now=now,
                scope=scope,
            )


def _steps(account_id: int, scope: str, name: str, spent_microusd: int, limit_microusd: int, now: datetime) -> None:
    """The highest step that is reached; the lower ones count as told."""
    reached = [step for step in STEPS_PERCENT if spent_microusd * 100 >= step * limit_microusd]
    if reached:
        mails.spending(
            account_id=account_id,
            key=f"spend:{name}:{month_of(now):%Y-%m}:{limit_microusd}:{reached[-1]}",
            scope=scope,
            percent=reached[-1],
            limit_microusd=limit_microusd,
            now=now,
        )


def _low_balances(now: datetime) -> None:
    """Once after each credit, and only to those who pay in advance."""
    low = Wallet.objects.filter(
        postpaid_limit_microusd=None,
        low_balance_microusd__isnull=False,
        balance_microusd__lt=F("low_balance_microusd") + F("held_microusd"),
    )
    for wallet in low.iterator():
        credits = LedgerEntry.objects.filter(wallet_id=wallet.pk, kind__in=[EntryKind.TOP_UP, EntryKind.GRANT])
        latest = credits.order_by("-id").values_list("pk", flat=True).first()
        if latest is not None:
            mails.balance_low(
                account_id=wallet.pk, since=str(latest), available_microusd=wallet.available_microusd, now=now
            )
