"""The first five minutes: an account opens, its first key is shown once, and the first picture appears by itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from csp.decorators import csp_replace
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_noop as _
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from accounts.models import Account, User
from accounts.selectors import keys_of
from gateway.dashboard.access import AccountRequest, account_page, membership_in_use
from gateway.dashboard.pictures import Shown
from gateway.models import DeliveryState, WebhookDelivery
from gateway.notices import notice_mail
from gateway.services import account_open
from gateway.site.context import base_url, free_calls_per_day
from gateway.site.samples import FIRST_PROMPT, curl_call, samples
from inference.models import Generation


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the checklist; what is done is read from the tables, so it survives everything."""

    text: str
    done: bool
    url: str


@never_cache
@require_safe
@login_required
def get_started(request: HttpRequest) -> HttpResponse:
    """Opens the account on the first visit: that is right after the e-mail address was confirmed, whichever way the
    person came. The key's text is in this one answer and nowhere else."""
    now = timezone.now()
    key_text = ""
    membership = membership_in_use(request)
    if membership is None:
        account, key_text = _open(request, now)
    else:
        account = membership.account
    request.account, request.section = account, "home"  # type: ignore[attr-defined]
    shown_key = key_text or "$API_KEY"
    address = base_url(request)
    context = {
        "key_text": key_text,
        "first_key": keys_of(account).last(),
        "samples": samples(base_url=address, key=shown_key),
        "prompt": FIRST_PROMPT,
        "latest": first_picture_of(account),
    }
    response = render(request, "dashboard/get_started.html", context)
    response["Cache-Control"] = "private, no-store"
    return response


def _open(request: HttpRequest, now: datetime) -> tuple[Account, str]:
    assert isinstance(request.user, User)
    account, new_key = account_open(owner=request.user, now=now, key_name="First key")
    _welcome_mail(request.user, base_url(request))
    return account, new_key.text


def _welcome_mail(user: User, address: str) -> None:
    values = {
        "base_url": address,
        "free_calls": free_calls_per_day(),
        "call": curl_call(base_url=address, key="$API_KEY"),
        "keys_url": address + reverse("dashboard:keys"),
    }
    notice_mail(template="welcome", user=user, values=values)


def first_picture_of(account: Account) -> Shown | None:
    """The account's newest generation: what the page waits for, whichever tool sent it."""
    newest = Generation.objects.filter(account_id=account.pk).order_by("-id").first()
    return Shown(newest) if newest else None


@account_page(section="home")
@require_safe
def first_picture(request: AccountRequest) -> HttpResponse:
    """The fragment that get_started asks for every two seconds. 286 tells htmx that there is nothing more to ask."""
    latest = first_picture_of(request.account)
    done = latest is not None and latest.generation.settled
    return render(request, "dashboard/first_picture.html", {"latest": latest}, status=286 if done else 200)


@xframe_options_sameorigin
@csp_replace({"frame-ancestors": ["'self'"]})
@account_page(section="home")
@require_safe
def first_picture_page(request: AccountRequest) -> HttpResponse:
    """The same as a page that renews itself, framed by get_started where there is no script: the key above it stays."""
    latest = first_picture_of(request.account)
    done = latest is not None and latest.generation.settled
    return render(request, "dashboard/first_picture_page.html", {"latest": latest, "done": done})


def checklist(account: Account) -> list[Step]:
    mine = Generation.objects.filter(account_id=account.pk)
    return [
        Step(_("Make a key"), keys_of(account).exists(), reverse("dashboard:keys")),
        Step(_("Make the first picture"), mine.exists(), reverse("dashboard:get_started")),
        Step(
            _("Receive a webhook"),
            WebhookDelivery.objects.filter(account_id=account.pk, state=DeliveryState.DELIVERED).exists(),
            reverse("dashboard:webhooks"),
        ),
        Step(
            _("Put a budget on a key"),
            keys_of(account).exclude(budget_microusd=None).exists(),
            reverse("dashboard:keys"),
        ),
    ]
