"""The overview of an account."""

from __future__ import annotations

import statistics
from datetime import datetime, timedelta

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from accounts.models import Account
from billing.entitlements import Terms, day_end, day_of, month_end, month_of, plan_in_force, terms_from
from billing.models import UsageDay, Wallet
from billing.spending import postpaid_used
from billing.standing import standing_of
from billing.subscriptions import subscription_shown
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.pictures import Shown
from gateway.dashboard.ranges import Range, step_start
from gateway.dashboard.requests import generations_of
from gateway.dashboard.usage_sums import cells
from gateway.dashboard.welcome import Step, checklist
from gateway.ids import generation_id_floor
from gateway.templatetags.units import money, ms, number, percent, short_day, spent, zone
from inference.models import GenerationState

SAMPLE = 500
RECENT_PICTURES = 6


@account_page(section="home")
@require_safe
def home(request: AccountRequest) -> HttpResponse:
    now = timezone.now()
    done = generations_of(request.account).filter(state=GenerationState.SUCCEEDED).defer("spec", "reply")
    wallet, subscription = Wallet.objects.get(pk=request.account.pk), subscription_shown(request.account.pk)
    context = {
        "wallet": wallet,
        "subscription": subscription,
        "standing": standing_of(subscription, now) if subscription else None,
        "metrics": metrics(request.account, wallet, now=now),
        "steps": steps_left(request.account, now=now),
        "may_change": request.role in MAKERS,
        "pictures": [Shown(row) for row in done[:RECENT_PICTURES]],
        "latest": [Shown(row) for row in generations_of(request.account).defer("spec", "reply", "result")[:6]],
    }
    return render(request, "dashboard/home.html", context)


def steps_left(account: Account, *, now: datetime) -> list[Step]:
    """The list of first steps until it is waved off or done; once done it stays away, whatever is deleted later."""
    if account.checklist_hidden_at is not None:
        return []
    steps = checklist(account)
    if all(step.done for step in steps):
        Account.objects.filter(pk=account.pk).update(checklist_hidden_at=now)
        return []
    return steps


@account_page(section="home", roles=MAKERS)
@require_POST
def checklist_hide(request: AccountRequest) -> HttpResponse:
    Account.objects.filter(pk=request.account.pk).update(checklist_hidden_at=timezone.now())
    return redirect("dashboard:home")


def metrics(account: Account, wallet: Wallet, *, now: datetime) -> list[dict[str, object]]:
    terms = terms_from(wallet, plan_in_force(wallet.plan_code, now))
    spend_microusd = spend_since(account, month_of(now), now=now)
    return [
        *_postpaid(wallet, now),
        *_free(account, terms, now),
        {
            "label": _("Plan"),
            "value": terms.plan_name,
            "note": format_lazy(_("{count} calls a minute"), count=number(terms.calls_per_minute)),
        },
        {
            "label": _("Balance"),
            "value": money(wallet.available_microusd),
            "note": _held(wallet) if wallet.balance_microusd >= 0 else _("owed: each month's invoice settles it"),
        },
        _today(account, wallet, spend_microusd, now),
        {
            "label": _("Spend this month"),
            "value": spent(spend_microusd),
            "note": format_lazy(_("since {day}, UTC"), day=short_day(month_of(now))),
        },
        *_quality(account, now),
    ]


def spend_since(account: Account, start: datetime, *, now: datetime) -> int:
    """Micro-dollars of the calls that were settled since then."""
    span = Range.between("spend", start, now, zone=zone(account.time_zone))
    return sum(cell.amount_microusd for cell in cells(account, span, "status"))


def _today(account: Account, wallet: Wallet, month_microusd: int, now: datetime) -> dict[str, object]:
    """Since midnight in the account's zone, against what the month's limit leaves."""
    midnight = step_start(now, unit="day", zone=zone(account.time_zone))
    card: dict[str, object] = {"label": _("Spend today"), "value": spent(spend_since(account, midnight, now=now))}
    limit = wallet.spend_limit_microusd
    if limit is None:
        return card | {"note": _("no monthly limit is set")}
    left = max(limit - month_microusd, 0)
    share = min(100, round(100 * month_microusd / limit)) if limit else 100
    note = format_lazy(_("{left} left of {limit} a month"), left=spent(left), limit=money(limit))
    return card | {"note": note, "share": share}


def _postpaid(wallet: Wallet, now: datetime) -> list[dict[str, object]]:
    limit = wallet.postpaid_limit_microusd
    if limit is None:
        return []
    used = postpaid_used(account_id=wallet.pk, now=now)
    note = format_lazy(_("of {limit}, resets on {day}, UTC"), limit=money(limit), day=short_day(month_end(now)))
    share = min(100, round(100 * used / limit))
    return [{"label": _("To be invoiced this month"), "value": spent(used), "note": note, "share": share}]


def _free(account: Account, terms: Terms, now: datetime) -> list[dict[str, object]]:
    if not terms.free_calls_per_day:
        return []
    used = UsageDay.objects.filter(account_id=account.pk, day=day_of(now)).values_list("calls", flat=True).first() or 0
    left = max(terms.free_calls_per_day - used, 0)
    hours_left = (day_end(now) - now).total_seconds() / 3600
    hours = format_lazy(_("resets in {hours} h, at 00:00 UTC"), hours=f"{hours_left:.0f}")
    reset = hours if hours_left >= 1 else _("resets within the hour, at 00:00 UTC")
    share = min(100, round(100 * used / terms.free_calls_per_day))
    return [{"label": _("Free calls left today"), "value": number(left), "note": reset, "share": share}]


def _held(wallet: Wallet) -> object:
    held = format_lazy(_("{amount} held for running calls"), amount=spent(wallet.held_microusd))
    return held if wallet.held_microusd else _("nothing held")


def _quality(account: Account, now: datetime) -> list[dict[str, object]]:
    """Success rate and times of the newest calls of the last day."""
    day = generations_of(account).filter(pk__gte=generation_id_floor(now - timedelta(days=1))).exclude(finished_at=None)
    rows = list(day.values_list("state", "created_at", "finished_at")[:SAMPLE])
    good = [
        (end - start).total_seconds() * 1000 for state, start, end in rows if end and state == GenerationState.SUCCEEDED
    ]
    ended = [row for row in rows if row[0] != GenerationState.CANCELLED]
    middle, worst = percentiles(good)
    return [
        {
            "label": _("Success, last 24 h"),
            "value": percent(len(good) / len(ended) if ended else None),
            "note": ngettext("{count} call ended", "{count} calls ended", len(ended)).format(count=number(len(ended))),
        },
        {"label": _("Time to picture, p50"), "value": ms(middle), "note": f"p95 {ms(worst)}"},
    ]


def percentiles(values_ms: list[float]) -> tuple[float | None, float | None]:
    """p50 and p95; None without values."""
    if len(values_ms) < 2:
        return (values_ms[0], values_ms[0]) if values_ms else (None, None)
    cuts = statistics.quantiles(values_ms, n=20, method="inclusive")
    return statistics.median(values_ms), cuts[18]
