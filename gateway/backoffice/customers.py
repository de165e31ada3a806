"""Customers: a list with search, one account's page, and what staff can do there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.models import Account, ApiKey, Membership
from accounts.selectors import keys_of
from billing.entitlements import terms_of
from billing.models import Plan, Price, RefundState, TopUp, UsageBucket
from billing.pricing import price_in_force
from gateway.backoffice import actions
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.catalogue_edit import price_codes
from gateway.backoffice.forms import (
    LIMITS,
    ConfirmForm,
    CorrectForm,
    EraseForm,
    GrantForm,
    LimitsForm,
    NoteForm,
    OwnPriceForm,
    PlanForm,
    ReasonForm,
)
from gateway.backoffice.navigation import console_render
from gateway.backoffice.usage import account_chart
from gateway.dashboard.pictures import Shown
from gateway.dashboard.requests import generations_of
from gateway.models import StaffAction, WebhookReceiver

PER_PAGE = 50
NOTE = "note"
SORTS = {"newest": "-pk", "name": "name", "balance": "-wallet__balance_microusd"}


@staff_page(section="customers", needs=Permission.LOOK)
@require_safe
def customers(request: StaffRequest) -> HttpResponse:
    search, state = request.GET.get("q", "").strip()[:100], request.GET.get("state", "")
    plan_code, sort = request.GET.get("plan", ""), request.GET.get("sort", "")
    found = accounts_found(search)
    if state == "suspended":
        found = found.exclude(suspended_at=None)
    elif state == "arrears":
        found = found.filter(wallet__in_arrears=True)
    if plan_code:
        found = found.filter(wallet__plan_code=plan_code)
    paginator = Paginator(found.order_by(SORTS.get(sort, SORTS["newest"]), "pk"), PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    page.shown = list(paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))  # type: ignore[attr-defined]
    now = timezone.now()
    used, plans = month_of([account.pk for account in page.object_list], now), plan_choices(now)
    context = {
        "page": page,
        "rows": [(account, used.get(account.pk, {})) for account in page.object_list],
        "search": search,
        "state": state,
        "plan_code": plan_code,
        "sort": sort,
        "plans": plans,
        "plan_names": dict(plans),
    }
    return console_render(request, "backoffice/customers.html", context)


def accounts_found(search: str) -> QuerySet[Account]:
    """By name, a member's e-mail, the account's id, or the beginning of a key's look-up part."""
    everyone = Account.objects.select_related("wallet")
    if not search:
        return everyone
    matches = Q(name__icontains=search) | Q(pk__in=Membership.objects.filter(_email(search)).values("account_id"))
    if search.isdecimal() and len(search) < 19:
        matches |= Q(pk=int(search))
    lookup = search.rpartition("_")[2].partition("…")[0]
    if len(lookup) >= 4:
        matches |= Q(pk__in=ApiKey.objects.filter(lookup__startswith=lookup).values("account_id"))
    return everyone.filter(matches)


def _email(search: str) -> Q:
    return Q(user__email__icontains=search)


def month_of(account_ids: list[int], now: datetime) -> dict[int, dict[str, int]]:
    """What each of these accounts used in 30 days: one query."""
    rows = UsageBucket.objects.filter(account_id__in=account_ids, bucket__gte=now - timedelta(days=30))
    sums = rows.values("account_id").annotate(made=Sum("calls"), charged=Sum("amount_microusd")).order_by()
    return {row["account_id"]: row for row in sums}


def plan_choices(now: datetime) -> list[tuple[str, str]]:
    """Every plan with a version in force."""
    rows = Plan.objects.filter(effective_from__lte=now).order_by("effective_from").values_list("code", "name")
    return sorted(dict(rows).items(), key=lambda item: item[1])


@staff_page(section="customers", needs=Permission.LOOK)
@require_safe
def customer(request: StaffRequest, account_id: int) -> HttpResponse:
    return page_of(request, account_found(account_id))


def account_found(account_id: int) -> Account:
    if account_id >= 2**63:
        raise Http404
    return get_object_or_404(Account.objects.select_related("wallet"), pk=account_id)


def page_of(request: StaffRequest, account: Account, failed: forms.Form | None = None) -> HttpResponse:
    """The account's page. A form that was refused stands in it with its errors."""
    now = timezone.now()
    members = Membership.objects.filter(account=account).select_related("user").order_by("created_at")
    sessions = UserSession.objects.filter(user__memberships__account=account)
    unconfirmed = list(actions.addresses_of(account).filter(verified=False).values_list("email", flat=True))
    records = StaffAction.objects.filter(target=actions.account_target(account)).select_related("actor").order_by("-id")
    context = {
        "account_shown": account,
        "wallet": account.wallet,
        "terms": terms_of(account.pk, now=now),
        "members": members,
        "unconfirmed": unconfirmed,
        "chart": account_chart(account.pk, now),
        "sessions": sessions.count(),
        "newest_sessions": sessions.select_related("user").order_by("-pk")[:10],
        "keys": keys_of(account)[:50],
        "used": month_of([account.pk], now).get(account.pk, {}),
        "entries": account.wallet.entries.order_by("-id")[:20],
        "top_ups": payments_of(account)[:10],
        "own_prices": Price.objects.filter(account=account).order_by("price_code", "-effective_from"),
        "calls": [Shown(row) for row in generations_of(account).defer("spec", "reply", "result", "asked")[:10]],
        "receivers": WebhookReceiver.objects.filter(account_id=account.pk, failures_in_row__gt=0),
        "done": records.exclude(action=NOTE)[:20],
        "notes": records.filter(action=NOTE)[:20],
        "forms": _forms(account, now, unconfirmed, failed),
        "now": now,
    }
    return console_render(request, "backoffice/customer.html", context)


def payments_of(account: Account) -> QuerySet[TopUp]:
    """Newest first; `left_cents` is what of one can still be given back."""
    given = Coalesce(Sum("refunds__amount_cents", filter=~Q(refunds__state=RefundState.FAILED)), 0)
    return TopUp.objects.filter(account=account).annotate(left_cents=F("amount_cents") - given).order_by("-pk")


def _forms(account: Account, now: datetime, unconfirmed: list[str], failed: forms.Form | None) -> dict[str, forms.Form]:
    wallet = account.wallet
    fresh: dict[str, forms.Form] = {
        "grant": GrantForm(initial={"nonce": uuid.uuid4().hex}, prefix="grant"),
        "plan": PlanForm(plans=plan_choices(now), initial={"plan_code": wallet.plan_code}, prefix="plan"),
        "correct": CorrectForm(initial={"nonce": uuid.uuid4().hex}, prefix="correct"),
        "limits": LimitsForm(initial={name: wallet.overrides.get(name) for name in LIMITS}, prefix="limits"),
        "price": OwnPriceForm(codes=price_codes(), prefix="price"),
        "suspend": ReasonForm(prefix="suspend"),
        "resume": ReasonForm(prefix="resume"),
        "confirm": ConfirmForm(emails=unconfirmed, prefix="confirm"),
        "note": NoteForm(prefix="note"),
        "sign_out": ReasonForm(prefix="sign_out"),
        "key": ReasonForm(prefix="key"),
        "act": ReasonForm(prefix="act"),
        "export": ReasonForm(prefix="export"),
        "erase": EraseForm(account_id=account.pk, prefix="erase"),
    }
    return fresh | ({str(failed.prefix): failed} if failed is not None else {})


def refused(request: StaffRequest, account: Account, form: forms.Form) -> HttpResponse:
    """The page with what is wrong with a form in it."""
    response = page_of(request, account, form)
    response.status_code = 400
    return response


def answer(
    request: StaffRequest, account: Account, form: forms.Form, act: Callable[[dict[str, Any]], str]
) -> HttpResponse:
    """Do it and say what was done, or show the page again with what is wrong."""
    if not form.is_valid():
        return refused(request, account, form)
    messages.success(request, act(form.cleaned_data))
    return redirect("backoffice:customer", account_id=account.pk)


@staff_page(section="customers", needs=Permission.FUNDS)
@require_POST
def customer_grant(request: StaffRequest, account_id: int) -> HttpResponse:
    account = account_found(account_id)

    def act(data: dict[str, Any]) -> str:
        granted = actions.account_grant(
            account=account,
            amount_microusd=data["amount"],
            nonce=data["nonce"],
            reason=data["reason"],
            by=request.user,
            now=timezone.now(),
        )
        return "The funds are granted." if granted else "This form was sent before: nothing more was granted."

    return answer(request, account, GrantForm(request.POST, prefix="grant"), act)


@staff_page(section="customers", needs=Permission.FUNDS)
@require_POST
def customer_plan(request: StaffRequest, account_id: int) -> HttpResponse:
    account, now = account_found(account_id), timezone.now()

    def act(data: dict[str, Any]) -> str:
        actions.account_plan_change(
            account=account,
            plan_code=data["plan_code"],
            postpaid_limit_microusd=data["limit"],
            reason=data["reason"],
            by=request.user,
            now=now,
        )
        return "The plan is changed."

    return answer(request, account, PlanForm(request.POST, plans=plan_choices(now), prefix="plan"), act)


@staff_page(section="customers", needs=Permission.FUNDS)
@require_POST
def customer_limits(request: StaffRequest, account_id: int) -> HttpResponse:
    account, form = account_found(account_id), LimitsForm(request.POST, prefix="limits")

    def act(data: dict[str, Any]) -> str:
        actions.account_limits_set(
            account=account, limits=form.limits(), reason=data["reason"], by=request.user, now=timezone.now()
        )
        return "The limits are set; they hold within a second."

    return answer(request, account, form, act)


@staff_page(section="customers", needs=Permission.PRICES)
@require_POST
def customer_price(request: StaffRequest, account_id: int) -> HttpResponse:
    """A price of this account's own, from now on."""
    account, now = account_found(account_id), timezone.now()

    def act(data: dict[str, Any]) -> str:
        code = data["price_code"]
        actions.price_change(
            price_code=code,
            amount_microusd=data["amount"],
            before_microusd=price_in_force(price_code=code, account_id=account.pk, now=now),
            effective_from=now,
            reason=data["reason"],
            by=request.user,
            now=now,
            account=account,
        )
        return f"{account.name} pays its own price for {code} from now on."

    return answer(request, account, OwnPriceForm(request.POST, codes=price_codes(), prefix="price"), act)


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def customer_suspend(request: StaffRequest, account_id: int) -> HttpResponse:
    account = account_found(account_id)

    def act(data: dict[str, Any]) -> str:
        actions.account_suspend(account=account, reason=data["reason"], by=request.user, now=timezone.now())
        return "The account is suspended: its keys are refused within a second."

    return answer(request, account, ReasonForm(request.POST, prefix="suspend"), act)


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def customer_resume(request: StaffRequest, account_id: int) -> HttpResponse:
    account = account_found(account_id)

    def act(data: dict[str, Any]) -> str:
        actions.account_resume(account=account, reason=data["reason"], by=request.user, now=timezone.now())
        return "The account may call again."

    return answer(request, account, ReasonForm(request.POST, prefix="resume"), act)


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def customer_confirm(request: StaffRequest, account_id: int) -> HttpResponse:
    """For somebody whom the mail with the code never reached."""
    account = account_found(account_id)
    emails = list(actions.addresses_of(account).values_list("email", flat=True))

    def act(data: dict[str, Any]) -> str:
        confirmed = actions.address_confirm(
            account=account, email=data["email"], reason=data["reason"], by=request.user, now=timezone.now()
        )
        return f"{data['email']} is confirmed." if confirmed else "It is confirmed already, here or for somebody else."

    return answer(request, account, ConfirmForm(request.POST, emails=emails, prefix="confirm"), act)


@staff_page(section="customers", needs=Permission.LOOK)
@require_POST
def customer_note(request: StaffRequest, account_id: int) -> HttpResponse:
    """What the rest of the staff should know: everybody of it may say so."""
    account = account_found(account_id)

    def act(data: dict[str, Any]) -> str:
        actions.staff_action_record(
            by=request.user,
            action=NOTE,
            target=actions.account_target(account),
            reason=data["reason"],
            now=timezone.now(),
        )
        return "It is noted."

    return answer(request, account, NoteForm(request.POST, prefix="note"), act)


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def customer_sign_out(request: StaffRequest, account_id: int) -> HttpResponse:
    account = account_found(account_id)

    def act(data: dict[str, Any]) -> str:
        count = actions.account_sign_out(account=account, reason=data["reason"], by=request.user, now=timezone.now())
        return f"{count} sessions ended."

    return answer(request, account, ReasonForm(request.POST, prefix="sign_out"), act)


@staff_page(section="customers", needs=Permission.CUSTOMERS)
@require_POST
def customer_key_revoke(request: StaffRequest, account_id: int, key_id: int) -> HttpResponse:
    account = account_found(account_id)
    api_key = get_object_or_404(keys_of(account).select_related("account"), pk=key_id)

    def act(data: dict[str, Any]) -> str:
        revoked = actions.account_key_revoke(
            api_key=api_key, reason=data["reason"], by=request.user, now=timezone.now()
        )
        return "The key is revoked." if revoked else "It was revoked before."

    return answer(request, account, ReasonForm(request.POST, prefix="key"), act)
