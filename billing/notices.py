"""Who must be told about payments, plans, balance and spending. Reads rows; mails go out once per fact."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q, Sum, Value
from django.db.models.functions import Concat

from accounts.models import ApiKey
from billing import mails
from billing.entitlements import month_of, plan_in_force
from billing.models import (
    EntryKind,
    LedgerEntry,
    MoneyNotice,
    SpendMonth,
    Subscription,
    TopUp,
    TopUpState,
    UsageBucket,
    Wallet,
)
from billing.postpaid import METERED
from billing.spending import INVOICED, month_day
from billing.standing import date_text, standing_of

STEPS_PERCENT = (50, 75, 100)
# Older facts are history: an installation that begins to send such mails sends none about them.
NEWS = timedelta(days=2)


def notices_send(*, now: datetime) -> None:
    _accounts(now)
    _postpaid(now)
    _keys(now)
    _low_balances(now)
    _receipts(now)
    _plans(now)


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


def _receipts(now: datetime) -> None:
    told = MoneyNotice.objects.filter(
        account_id=OuterRef("account_id"), key=Concat(Value("receipt:"), OuterRef("public_id"))
    )
    for top_up in TopUp.objects.filter(~Exists(told), state=TopUpState.PAID, paid_at__gt=now - NEWS):
        mails.funds_added(top_up=top_up, now=now)


def _plans(now: datetime) -> None:
    """That a plan began, became another, is about to end or has ended, or gives nothing while an invoice is unpaid."""
    held = Q(status__in=["active", "trialing", "past_due", "unpaid", "paused"])
    watched = Subscription.objects.filter(held | Q(status="canceled", ends_at__gt=now - NEWS))
    watched = watched.exclude(plan_code__in=["", METERED])
    accounts = watched.values("account_id")
    told = set(
        MoneyNotice.objects.filter(key__startswith="plan:", account_id__in=accounts).values_list("key", flat=True)
    )
    known = {key.split(":")[1] for key in told}
    for subscription in watched.order_by("pk").iterator(chunk_size=1_000):
        prefix = f"plan:{subscription.stripe_id}:"
        begun = subscription.created_at > now - NEWS or subscription.stripe_id in known
        state, subject, text = _plan_news(subscription, begun, now)
        if state and prefix + state not in told:
            mails.plan_told(account_id=subscription.account_id, key=prefix + state, subject=subject, text=text, now=now)


def _plan_news(subscription: Subscription, begun: bool, now: datetime) -> tuple[str, str, str]:
    """What to tell of a subscription as it stands: a name of the fact, empty for none, with subject and text. `begun`:
    its beginning is news or was told."""
    standing = standing_of(subscription, now)
    name = plan_in_force(subscription.plan_code, now).name
    if subscription.status == "canceled":
        ended = f"Your plan {name} has ended. Your funds stay yours: calls are paid from free calls and funds now."
        return "ended", f"{name} has ended", ended
    if standing.tone == "bad":
        since = subscription.past_due_since or subscription.period_start
        return f"stopped:{subscription.status}:{since:%Y%m%d%H%M}", f"{name} gives nothing at present", standing.text
    if subscription.status == "past_due":
        return "", "", ""  # each failed payment is told when its message comes
    if subscription.ends_at:
        ends = date_text(subscription.ends_at)
        return f"ending:{subscription.ends_at:%Y%m%d}", f"{name} ends on {ends}", standing.text
    told = f"is:{subscription.price_id}" if begun else ""
    return told, f"Your plan is {name}", f"{name} holds for your calls now. {standing.text}"
