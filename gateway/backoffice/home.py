"""The console's first screen: money, calls, machines and what needs somebody, each leading to its list."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, QuerySet, Sum
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account
from billing.models import Dispute, EventState, ExportState, StripeEvent, UsageExport
from billing.usage_days import house_folded_through
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.figures import (
    FUNNEL,
    Sums,
    calls_over,
    calls_since,
    change,
    compared,
    counted,
    funnel_rows,
    mean_cost_microusd,
    spans,
    top,
)
from gateway.backoffice.navigation import console_render
from gateway.features import features_off
from gateway.models import AuditRun, Feature, RefusalBucket, WebhookReceiver
from gateway.templatetags.units import ms, number, percent, spent
from inference.models import Generation, GenerationState, RenderWorker, WorkerState

RATE_OVER = timedelta(minutes=30)
SAMPLE = 1000
SAMPLE_OF = timedelta(hours=24)
TOP = 5
AUDIT_STALE = timedelta(days=2)
# The attribute of Sums, and what it is called.
MONEY_ROWS = (
    ("added_microusd", "Funds added"),
    ("charged_microusd", "Charged"),
    ("returned_microusd", "Refunds and disputes"),
    ("granted_microusd", "Granted and corrected"),
    ("free_microusd", "Free calls, at list price"),
    ("fees_microusd", "Payment fees"),
    ("gpu_microusd", "GPU cost, estimated"),
    ("margin_microusd", "Margin on charges"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    change: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that needs somebody. Who may not open its page reads it without a link."""

    tone: str
    text: str
    url: str
    needs: Permission = Permission.LOOK

    def to(self, permissions: frozenset[Permission]) -> Alert:
        return self if self.needs in permissions else replace(self, url="")


@staff_page(section="console", needs=Permission.LOOK)
@require_safe
def home(request: StaffRequest) -> HttpResponse:
    now = timezone.now()
    periods, workers, waiting = spans(now), fleet(), queues(now)
    through = house_folded_through()
    calls = calls_over(periods, through)
    sums = compared(periods, calls, per_hour_microusd=workers.cost_microusd_per_hour)
    counts = counted(funnel_rows(since=now - timedelta(days=30)) | attention_rows())
    audit = AuditRun.objects.order_by("-id").only("ran_at", "differences").first()
    week = periods[1].start
    context = {
        "now": now,
        "metrics": metrics(sums[0][0], calls_since(calls, now - RATE_OVER), waiting, workers, now),
        "periods": [span.label for span in periods],
        "money": money_rows(sums),
        "calls": call_rows(sums),
        "waiting": waiting,
        "workers": workers.states,
        "customers": named(top("account_id", since=week, until=now, through=through, limit=TOP)),
        "models": top("model_id", since=week, until=now, through=through, limit=TOP),
        "funnel": [(label, counts[name]) for name, label in FUNNEL],
        "refused": refused_lately(now),
        "alerts": [alert.to(request.permissions) for alert in alerts(waiting, workers, counts, audit, now)],
        "audit": audit,
        "per_hour": workers.cost_microusd_per_hour,
    }
    return console_render(request, "backoffice/home.html", context)


def money_rows(sums: list[tuple[Sums, Sums]]) -> list[tuple[str, list[Cell]]]:
    return [
        (label, [_cell(getattr(now, name), getattr(before, name), _amount) for now, before in sums])
        for name, label in MONEY_ROWS
    ]


def call_rows(sums: list[tuple[Sums, Sums]]) -> list[tuple[str, list[Cell]]]:
    counted = [("Calls", "calls"), ("Images", "images"), ("Failed calls", "failed")]
    return [
        (label, [_cell(getattr(now, name), getattr(before, name), number) for now, before in sums])
        for label, name in counted
    ]


def _amount(amount_microusd: int) -> str:
    """An estimate needs no more than four decimals; cut towards zero."""
    sign = -1 if amount_microusd < 0 else 1
    return spent(sign * (abs(amount_microusd) // 100 * 100))


def _cell(now: int | None, before: int | None, text: Any) -> Cell:
    """None is not known."""
    if now is None or before is None:
        return Cell("unknown", "")
    return Cell(text(now), change_text(now, before))


def change_text(now: int, before: int) -> str:
    """+12 % or −3 %; "new" where there was nothing before, and nothing where both are nothing."""
    share = change(now, before)
    if share is None:
        return "new" if now else ""
    if abs(share) > 9.99:
        return (">" if share > 0 else "<\N{MINUS SIGN}") + "999\N{NO-BREAK SPACE}%"
    sign = "+" if share > 0 else "\N{MINUS SIGN}" if share < 0 else "±"
    return f"{sign}{abs(share) * 100:.0f}\N{NO-BREAK SPACE}%"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one model."""

    model_id: str
    count: int
    oldest_s: float


def queues(now: datetime) -> list[Waiting]:
    rows = Generation.objects.filter(state=GenerationState.WAITING).values("model_id")
    found = rows.annotate(depth=Count("pk"), oldest=Min("created_at")).order_by("oldest")
    return [Waiting(row["model_id"], row["depth"], (now - row["oldest"]).total_seconds()) for row in found]


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many render workers are in each state, and what one costs in an hour on average."""

    states: dict[str, int]
    cost_microusd_per_hour: int

    @property
    def alive(self) -> int:
        return sum(count for state, count in self.states.items() if state != WorkerState.LOST)


def fleet() -> Fleet:
    """A worker that takes no more work counts as draining."""
    rows = list(RenderWorker.objects.values_list("state", "draining", "cost_microusd_per_hour"))
    states: dict[str, int] = {}
    for state, draining, _ in rows:
        shown = WorkerState.DRAINING.value if draining and state != WorkerState.LOST else state
        states[shown] = states.get(shown, 0) + 1
    return Fleet(states, mean_cost_microusd(cost for _, _, cost in rows))


def metrics(
    today: Sums, lately: dict[str, int], waiting: list[Waiting], workers: Fleet, now: datetime
) -> list[dict[str, Any]]:
    # The quarter of an hour that runs is part of the sum: from the first one's start to now is what the rate is over.
    minutes = max((now - _bucket_after(now - RATE_OVER)).total_seconds() / 60, 1.0)
    middle, most, worst = times(now)
    depth, oldest = sum(one.count for one in waiting), max((one.oldest_s for one in waiting), default=0.0)
    busy = workers.states.get(WorkerState.BUSY, 0)
    requests_url, usage_url = reverse("backoffice:requests"), reverse("backoffice:usage")
    return [
        {"label": "Calls a minute", "value": number(lately["calls"] / minutes), "url": usage_url + "?range=24h"},
        {"label": "Images a minute", "value": number(lately["images"] / minutes), "url": usage_url + "?range=24h"},
        {
            "label": "Errors today",
            "value": percent(today.error_share),
            "note": f"{number(today.failed)} failed",
            "url": requests_url + "?state=failed",
        },
        {
            "label": "Time to picture, p50",
            "value": ms(middle),
            "note": f"p95 {ms(most)}, p99 {ms(worst)}",
            "url": requests_url,
        },
        {
            "label": "Waiting",
            "value": number(depth),
            "note": f"oldest {ms(oldest * 1000)}" if depth else "nothing waits",
            "url": reverse("backoffice:queue"),
        },
        {
            "label": "Workers alive",
            "value": number(workers.alive),
            "note": f"{number(busy)} busy",
            "url": reverse("backoffice:workers"),
        },
    ]


def _bucket_after(moment: datetime) -> datetime:
    """The start of the first quarter of an hour after `moment`: the first that `bucket__gt` lets in."""
    return moment + timedelta(minutes=15 - moment.minute % 15, seconds=-moment.second, microseconds=-moment.microsecond)


def refused_lately(now: datetime) -> list[tuple[str, int]]:
    """The most frequent reasons of the last 24 hours, with how many calls each refused."""
    rows = RefusalBucket.objects.filter(bucket__gt=now - timedelta(hours=24)).values_list("code")
    return list(rows.annotate(total=Sum("calls")).order_by("-total", "code")[:TOP])


def times(now: datetime) -> tuple[float | None, float | None, float | None]:
    """p50, p95 and p99 from received to delivered, in ms, of the newest calls of a day: by the primary key alone."""
    newest = Generation.objects.order_by("-id").values_list("state", "created_at", "finished_at")[:SAMPLE]
    taken = sorted(
        (end - start).total_seconds() * 1000
        for state, start, end in newest
        if state == GenerationState.SUCCEEDED and end and start >= now - SAMPLE_OF
    )
    if len(taken) < 2:
        return (taken[0],) * 3 if taken else (None, None, None)
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


def named(rows: list[Any]) -> list[tuple[str, Any]]:
    """Rows keyed by account beside the account's name: one query for all."""
    names = dict(Account.objects.filter(pk__in=[row.key for row in rows]).values_list("pk", "name"))
    return [(names.get(row.key, f"account {row.key}"), row) for row in rows]


def attention_rows() -> dict[str, QuerySet[Any]]:
    """What is counted because somebody must look at it."""
    return {
        "failing": WebhookReceiver.objects.filter(failures_in_row__gt=0),
        "paused": WebhookReceiver.objects.filter(paused_at__isnull=False),
        "disputes": Dispute.objects.exclude(status__in=("won", "lost", "warning_closed")),
        "events": StripeEvent.objects.filter(state=EventState.PARKED),
        "exports": UsageExport.objects.filter(state=ExportState.PARKED),
    }


def alerts(
    waiting: list[Waiting], workers: Fleet, counts: dict[str, int], audit: AuditRun | None, now: datetime
) -> list[Alert]:
    """Worst first."""
    payments_url = reverse("backoffice:payments")
    found: list[Alert] = []
    if not workers.alive:
        found.append(Alert("bad", "No render worker is alive", reverse("backoffice:workers")))
    if off := sorted(Feature(name).label for name in features_off()):
        found.append(Alert("warn", f"Switched off: {', '.join(off)}", reverse("backoffice:settings"), Permission.HOUSE))
    if waiting and max(one.oldest_s for one in waiting) > 60:
        found.append(Alert("warn", "A call has been waiting for over a minute", reverse("backoffice:queue")))
    found += _audit_alert(audit, now)
    if counts["failing"]:
        text = f"Webhook receivers: {counts['failing']} failing, {counts['paused']} paused"
        found.append(Alert("warn", text, reverse("backoffice:webhooks")))
    if counts["disputes"]:
        found.append(Alert("bad", f"Open disputes: {counts['disputes']}", payments_url, Permission.MONEY))
    if counts["events"]:
        text = f"Parked events of Stripe: {counts['events']}"
        found.append(Alert("bad", text, payments_url + "?state=parked", Permission.MONEY))
    if counts["exports"]:
        text = f"Parked reports of usage: {counts['exports']}"
        found.append(Alert("bad", text, payments_url + "#exports", Permission.MONEY))
    return sorted(found, key=lambda alert: alert.tone != "bad")


def _audit_alert(run: AuditRun | None, now: datetime) -> list[Alert]:
    url = reverse("backoffice:money")
    if run is None or run.ran_at < now - AUDIT_STALE:
        since = "yet" if run is None else "for two days"
        return [Alert("warn", f"The books have not been proved {since}", url, Permission.MONEY)]
    text = f"The books have {run.differences} differences"
    return [Alert("bad", text, url, Permission.MONEY)] if run.differences else []
