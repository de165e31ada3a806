"""Who must be told about payments, plans, balance and spending. Reads rows; mails go out once per fact."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, Q, Sum, Value
from django.db.models.functions import Concat
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

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
            _steps(wallet.pk, gettext_lazy("Your account"), "account", spent, wallet.spend_limit_microusd, now)
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
        _steps(
            wallet.pk,
            gettext_lazy("Post-paid use"),
            "postpaid",
            counted[wallet.pk],
            wallet.postpaid_limit_microusd,
            now,
        )


def _keys(now: datetime) -> None:
    watched = Q(budget_microusd__gt=0) | Q(warn_microusd__gt=0)
    for key in ApiKey.objects.filter(watched, revoked_at=None).iterator():
        spent = spent_in_month(account_id=key.account_id, now=now, key_id=key.pk)
        scope = format_lazy(gettext_lazy('The key "{name}"'), name=key.name)
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


def _steps(
    account_id: int, scope: mails.Scope, name: str, spent_microusd: int, limit_microusd: int, now: datetime
) -> None:
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
        state = _plan_news(subscription, begun, now)[0]
        if state and prefix + state not in told:
            words = functools.partial(_plan_words, subscription, begun, now)
            mails.plan_told(account_id=subscription.account_id, key=prefix + state, words=words, now=now)


def _plan_words(subscription: Subscription, begun: bool, now: datetime) -> tuple[str, list[str]]:
    """In the language that is active."""
    return _plan_news(subscription, begun, now)[1]


def _plan_news(subscription: Subscription, begun: bool, now: datetime) -> tuple[str, tuple[str, list[str]]]:
    """What to tell of a subscription as it stands: a name of the fact, empty for none, with subject and text. `begun`:
    its beginning is news or was told."""
    standing = standing_of(subscription, now)
    plan = {"plan": plan_in_force(subscription.plan_code, now).name}
    if subscription.status == "canceled":
        ended = _("Your plan %(plan)s has ended. Your funds stay yours: calls are paid from free calls and funds now.")
        return "ended", (_("%(plan)s has ended") % plan, [ended % plan])
    if standing.tone == "bad":
        since = subscription.past_due_since or subscription.period_start
        subject = _("%(plan)s gives nothing at present") % plan
        return f"stopped:{subscription.status}:{since:%Y%m%d%H%M}", (subject, [standing.text])
    if subscription.status == "past_due":
        return "", ("", [])  # each failed payment is told when its message comes
    if subscription.ends_at:
        subject = _("%(plan)s ends on %(day)s") % (plan | {"day": date_text(subscription.ends_at)})
        return f"ending:{subscription.ends_at:%Y%m%d}", (subject, [standing.text])
    told = f"is:{subscription.price_id}" if begun else ""
    holds = _("%(plan)s holds for your calls now.") % plan
    return told, (_("Your plan is %(plan)s") % plan, [f"{holds} {standing.text}"])
