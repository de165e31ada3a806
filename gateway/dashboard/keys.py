"""API keys: the list and its archive, making one, rolling one with grace, revoking one. A key's text is in the one
answer to the POST that made it, and nowhere else.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from django.contrib import messages
from django.core.cache import cache
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Account, ApiKey
from accounts.selectors import keys_of
from accounts.services import NewKey, key_change, key_create, key_revoke, key_roll
from gateway.api.parsing import client_address
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.forms import SCOPES, KeyChangeForm, KeyForm, RollForm
from gateway.dashboard.ranges import LONGEST, Range
from gateway.dashboard.usage_sums import by_group, cells
from gateway.notices import key_made_mail, key_revoked_mail
from gateway.services.key_days import key_day_calls
from gateway.site.context import base_url
from gateway.site.samples import samples
from gateway.templatetags.units import zone

STALE_AFTER = timedelta(days=90)
# A form is worth one key: sending it again finds its nonce used.
_NONCE_TTL_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key in the list."""

    api_key: ApiKey
    spent_microusd: int
    calls: int
    now: datetime
    calls_today: int = 0

    @property
    def state(self) -> str:
        if self.api_key.revoked_at:
            return "revoked"
        expires_at = self.api_key.expires_at
        if expires_at and expires_at <= self.now:
            return "expired"
        if expires_at and ApiKey.objects.filter(rolled_from=self.api_key).exists():
            return "grace"
        return "stale" if self._unused_since() < self.now - STALE_AFTER else "active"

    @property
    def word(self) -> str:
        words = {
            "active": _("Active"),
            "grace": _("In grace"),
            "stale": _("Unused"),
            "revoked": _("Revoked"),
            "expired": _("Expired"),
        }
        return words[self.state]

    @property
    def tone(self) -> str:
        return {"active": "ok", "grace": "warn", "stale": "warn", "revoked": "bad", "expired": "bad"}[self.state]

    @property
    def may(self) -> list[str]:
        """What the key is confined to, as the form that made it says it; empty for no such limit."""
        return [str(label) for scope, label in SCOPES if scope in self.api_key.scopes]

    @property
    def budget_share(self) -> int | None:
        budget = self.api_key.budget_microusd
        return min(100, 100 * self.spent_microusd // budget) if budget else None

    def _unused_since(self) -> datetime:
        return self.api_key.last_used_at or self.api_key.created_at


@account_page(section="keys")
@require_safe
def keys(request: AccountRequest) -> HttpResponse:
    now = timezone.now()
    archived = request.GET.get("archive") == "1"
    rows = _rows(request.account, now, in_all=archived)
    dead = {"revoked", "expired"}
    context = {
        "archived": archived,
        "rows": [row for row in rows if (row.state in dead) == archived],
        "archive_count": sum(row.state in dead for row in rows),
        "may_change": request.role in MAKERS,
    }
    return render(request, "dashboard/keys.html", context)


def _rows(account: Account, now: datetime, *, in_all: bool) -> list[KeyRow]:
    """Spend and calls are of this month, or of all time for the archive: what a key spent stays with it."""
    mine = list(keys_of(account).select_related("created_by"))
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = max(account.created_at, now - LONGEST) if in_all else month
    span = Range.between("keys", start, now, zone=zone(account.time_zone))
    found = cells(account, span, "key_id")
    spent, calls = by_group(found, "amount_microusd"), by_group(found, "calls")
    today = key_day_calls(key_ids=[k.pk for k in mine if k.calls_per_day is not None], now=now)
    return [KeyRow(k, spent.get(k.pk, 0), calls.get(k.pk, 0), now, today.get(k.pk, 0)) for k in mine]


@account_page(section="keys", roles=MAKERS)
@require_http_methods(["GET", "HEAD", "POST"])
def key_new(request: AccountRequest) -> HttpResponse:
    form = KeyForm(request.POST or None, initial={"nonce": uuid.uuid4().hex, "environment": "live"})
    if request.method == "POST" and form.is_valid():
        if not _first_use(form.cleaned_data["nonce"]):
            return redirect("dashboard:keys")
        now = timezone.now()
        made = key_create(
            account=request.account,
            now=now,
            created_by=request.user,
            address=client_address(request),
            **form.values(now=now),
        )
        return _shown_once(request, made, rolled=False)
    return render(request, "dashboard/key_new.html", {"form": form})


@account_page(section="keys", roles=MAKERS)
@require_http_methods(["GET", "HEAD", "POST"])
def key_edit(request: AccountRequest, key_id: int) -> HttpResponse:
    api_key = _usable(request, key_id)
    form = KeyChangeForm(request.POST or None, initial=KeyChangeForm.initial_of(api_key))
    if request.method == "POST" and form.is_valid():
        key_change(
            api_key=api_key,
            changes=form.changes(),
            now=timezone.now(),
            by=request.user,
            address=client_address(request),
        )
        messages.success(request, _("Saved. It holds everywhere within a second."))
        return redirect("dashboard:keys")
    return render(request, "dashboard/key_new.html", {"form": form, "api_key": api_key})


@account_page(section="keys", roles=MAKERS)
@require_http_methods(["GET", "HEAD", "POST"])
def key_roll_page(request: AccountRequest, key_id: int) -> HttpResponse:
    api_key = _usable(request, key_id)
    form = RollForm(request.POST or None, initial={"nonce": uuid.uuid4().hex, "grace_s": "86400"})
    if request.method == "POST" and form.is_valid():
        if not _first_use(form.cleaned_data["nonce"]):
            return redirect("dashboard:keys")
        made = key_roll(
            api_key=api_key, grace=form.grace(), now=timezone.now(), by=request.user, address=client_address(request)
        )
        return _shown_once(request, made, rolled=True)
    return render(request, "dashboard/key_roll.html", {"form": form, "api_key": api_key})


@account_page(section="keys", roles=MAKERS)
@require_http_methods(["GET", "HEAD", "POST"])
def key_revoke_page(request: AccountRequest, key_id: int) -> HttpResponse:
    api_key = _usable(request, key_id)
    if request.method == "POST":
        if key_revoke(api_key=api_key, now=timezone.now(), by=request.user, address=client_address(request)):
            key_revoked_mail(api_key=api_key, by=request.user)
        return redirect("dashboard:keys")
    return render(request, "dashboard/key_revoke.html", {"api_key": api_key})


def _usable(request: AccountRequest, key_id: int) -> ApiKey:
    """The account's key that still works: a stranger's, a revoked one and an unknown one are the same 404."""
    found = keys_of(request.account).filter(pk=key_id, revoked_at=None).first()
    if found is None:
        raise Http404
    return found


def _first_use(nonce: str) -> bool:
    return bool(cache.add(f"key-form:{nonce}", 1, _NONCE_TTL_S))


def _shown_once(request: AccountRequest, made: NewKey, *, rolled: bool) -> HttpResponse:
    key_made_mail(api_key=made.api_key, user=request.user, address=client_address(request))
    env_file = f"API_KEY={made.text}\nAPI_BASE_URL={base_url(request)}\n"
    context = {
        "api_key": made.api_key,
        "text": made.text,
        "rolled": rolled,
        "samples": samples(base_url=base_url(request), key=made.text),
        "env_file": env_file,
        "env_url": f"data:text/plain;charset=utf-8,{quote(env_file)}",
    }
    return render(request, "dashboard/key_shown.html", context)
