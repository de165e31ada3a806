"""The limits page: for visitors the limits of the plans, for customers also what is used now and when it resets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.models import Account
from billing.entitlements import Terms, day_end, day_of, terms_of
from billing.models import UsageDay
from gateway.dashboard.access import membership_in_use
from gateway.limits import usage_now
from gateway.site.negotiation import MARKDOWN, varied, wants_markdown
from gateway.site.plans import plan_cards
from gateway.site.speech import english
from inference.selectors import queued_calls


@dataclass(frozen=True, slots=True)
class LimitRow:
    """One limit of the account: what it is, how much is used, when it is free again, how it is raised."""

    name: str
    used: int
    limit: int
    resets_at: datetime | None
    raised_by: str

    @property
    def share(self) -> int:
        return min(100, round(100 * self.used / self.limit)) if self.limit else 100

    @property
    def left(self) -> int:
        return max(self.limit - self.used, 0)


@require_safe
def limits(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    if wants_markdown(request) or request.path.endswith(".md"):
        return varied(limits_markdown(request))
    membership = membership_in_use(request) if request.user.is_authenticated else None
    context = {
        "section": "limits",
        "plans": plan_cards(now=now),
        "rows": limit_rows(membership.account, now=now) if membership else [],
    }
    if membership:
        request.account = membership.account  # type: ignore[attr-defined]
    return varied(render(request, "site/limits.html", context))


@english
def limits_markdown(request: HttpRequest) -> HttpResponse:
    context = {"plans": plan_cards(now=timezone.now()), "site_name": settings.SITE_NAME}
    return render(request, "site/limits.md", context, content_type=MARKDOWN)


def limit_rows(account: Account, *, now: datetime) -> list[LimitRow]:
    terms = terms_of(account.pk, now=now)
    return [*_per_day(account, terms, now), _per_minute(account, terms, now), _queued(account, terms)]


def _per_day(account: Account, terms: Terms, now: datetime) -> list[LimitRow]:
    if not terms.free_calls_per_day:
        return []
    used = UsageDay.objects.filter(account_id=account.pk, day=day_of(now)).values_list("calls", flat=True).first() or 0
    name, raised_by = _("Free calls today"), _("Adding funds goes on from there")
    return [LimitRow(name, used, terms.free_calls_per_day, day_end(now), raised_by)]


def _per_minute(account: Account, terms: Terms, now: datetime) -> LimitRow:
    usage = usage_now(account_id=account.pk, per_minute=terms.calls_per_minute, queued=terms.queued_calls, now=now)
    resets_at = datetime.fromtimestamp(usage.reset_at_epoch_s, tz=UTC) if usage.used else None
    return LimitRow(_("Calls in the last minute"), usage.used, terms.calls_per_minute, resets_at, _("A larger plan"))


def _queued(account: Account, terms: Terms) -> LimitRow:
    waiting = queued_calls(account_id=account.pk)
    raised_by = _("A larger plan; one frees when a call ends")
    return LimitRow(_("Calls queued or running"), waiting, terms.queued_calls, None, raised_by)
