"""Balance, funds, plans, auto-recharge and limits. Every button that pays leads to a page of the payment provider's.

Addresses there are secrets of the customer's: they are answered as redirects and nowhere kept.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.forms import Form
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import DomainError
from billing import stripe_client
from billing.customers import customer_of
from billing.entitlements import plan_in_force
from billing.errors import PaymentProviderUnavailable, PaymentsNotConfigured
from billing.models import AutoRecharge, Subscription, SubscriptionAttempt, TopUp, TopUpState, Wallet
from billing.money import MICROUSD_PER_CENT, cents_from_microusd
from billing.prices import plans_for_sale
from billing.recharge import FAILURES_MAX, card_page, card_saved, recharge_set
from billing.services import wallet_settings
from billing.standing import standing_of
from billing.subscriptions import (
    attempt_follow,
    moment,
    portal_page,
    subscribe_page,
    subscription_refresh,
    subscription_shown,
)
from billing.topups import CHOICES_CENTS, MINIMUM_CENTS, topup_page, topup_refresh, topup_start
from gateway.dashboard.access import PAYERS, AccountRequest, account_page
from gateway.dashboard.billing_forms import FundsForm, LimitsForm, RechargeForm
from gateway.dashboard.overview import metrics
from gateway.errors import PaymentsPaused
from gateway.features import feature_on
from gateway.models import Feature
from gateway.site.context import base_url
from gateway.webhooks_out.alerts import alert_address_set

ENTRIES_SHOWN = 10
INVOICE_TONES = {"open": "warn", "paid": "ok", "uncollectible": "bad"}
STRIPE_PAGES = ("https://checkout.stripe.com", "https://billing.stripe.com")

logger = logging.getLogger(__name__)


@account_page(section="billing")
@require_safe
def billing(request: AccountRequest) -> HttpResponse:
    return _page(request)


def _page(request: AccountRequest, *, status: int = 200, **forms: Form) -> HttpResponse:
    now = timezone.now()
    wallet = Wallet.objects.get(pk=request.account.pk)
    recharge = AutoRecharge.objects.filter(pk=request.account.pk).first()
    subscription = subscription_shown(request.account.pk)
    context = {
        "wallet": wallet,
        "plan": plan_in_force(wallet.plan_code, now),
        "metrics": metrics(request.account, wallet, now=now),
        "entries": wallet.entries.order_by("-id")[:ENTRIES_SHOWN],
        "configured": stripe_client.is_configured(),
        "may_pay": request.role in PAYERS,
        "choices": [cents * MICROUSD_PER_CENT for cents in CHOICES_CENTS],
        "minimum_microusd": MINIMUM_CENTS * MICROUSD_PER_CENT,
        "funds_form": FundsForm(initial={"nonce": secrets.token_urlsafe(18)}),
        "recharge_form": RechargeForm.of(recharge),
        "recharge": recharge,
        "failures_max": FAILURES_MAX,
        "limits_form": LimitsForm.of(wallet),
        "subscription": subscription,
        "standing": standing_of(subscription, now) if subscription else None,
        "plans": [(plan, plan.monthly_price_cents * MICROUSD_PER_CENT) for plan in plans_for_sale(now)],
        **forms,
    }
    response = render(request, "dashboard/billing/home.html", context, status=status)
    # A form's answer may lead to the provider's pages; browsers ask the policy for each address on the way.
    response._csp_update = {"form-action": provider_pages()}  # type: ignore[attr-defined]
    return response


def provider_pages() -> list[str]:
    if not settings.STRIPE_API_BASE:
        return list(STRIPE_PAGES)
    address = urlsplit(settings.STRIPE_API_BASE)
    return [f"{address.scheme}://{address.netloc}"]


def _lead(request: AccountRequest, page: Callable[[], str]) -> HttpResponse:
    """To the provider's page, or back with the reason in words."""
    try:
        return _seen_by_nobody(HttpResponseRedirect(page()))
    except DomainError as problem:
        messages.error(request, problem.said)
        return redirect("dashboard:billing")


def _require_payments() -> None:
    """Raises PaymentsPaused while the operator has switched payments off."""
    if not feature_on(Feature.PAYMENTS):
        raise PaymentsPaused


def _seen_by_nobody(response: HttpResponse) -> HttpResponse:
    response["Referrer-Policy"] = "no-referrer"
    response["Cache-Control"] = "no-store"
    return response


def _address(request: AccountRequest, name: str, query: str = "") -> str:
    return f"{base_url(request)}{reverse(f'dashboard:{name}')}{query}"


@account_page(section="billing", roles=PAYERS)
@require_POST
def funds_add(request: AccountRequest) -> HttpResponse:
    form = FundsForm(request.POST)
    if not form.is_valid():
        return _page(request, status=400, funds_form=form)

    def page() -> str:
        _require_payments()
        top_up = topup_start(
            account=request.account,
            amount_cents=cents_from_microusd(form.cleaned_data["amount"]),
            nonce=form.cleaned_data["nonce"],
            now=timezone.now(),
            by=request.user,
        )
        return topup_page(
            top_up=top_up,
            success_url=_address(request, "funds_done", "?session={CHECKOUT_SESSION_ID}"),
            cancel_url=_address(request, "billing_cancelled"),
            saves_card=bool(request.POST.get("save_card")),
        )

    return _lead(request, page)


@account_page(section="billing")
@require_safe
def funds_done(request: AccountRequest) -> HttpResponse:
    """Where the provider sends the customer back. The address proves nothing: the session is fetched and compared."""
    top_up = get_object_or_404(TopUp, account=request.account, session_id=request.GET.get("session", ""))
    problem = ""
    try:
        top_up = topup_refresh(top_up=top_up, now=timezone.now())
    except DomainError as refused:
        problem = "" if isinstance(refused, PaymentProviderUnavailable) else refused.said
    wallet = Wallet.objects.get(pk=request.account.pk)
    waits = top_up.state in (TopUpState.CREATED, TopUpState.OPEN) and not problem
    context = {"top_up": top_up, "amount_microusd": top_up.amount_cents * MICROUSD_PER_CENT, "wallet": wallet}
    return render(request, "dashboard/billing/funds_done.html", context | {"problem": problem, "waits": waits})


@account_page(section="billing")
@require_safe
def cancelled(request: AccountRequest) -> HttpResponse:
    return render(request, "dashboard/billing/cancelled.html")


@account_page(section="billing", roles=PAYERS)
@require_POST
def subscribe(request: AccountRequest) -> HttpResponse:
    def page() -> str:
        _require_payments()
        return subscribe_page(
            account=request.account,
            plan_code=request.POST.get("plan", ""),
            success_url=_address(request, "plan_done", "?session={CHECKOUT_SESSION_ID}"),
            cancel_url=_address(request, "billing_cancelled"),
            now=timezone.now(),
        )

    return _lead(request, page)


@account_page(section="billing")
@require_safe
def plan_done(request: AccountRequest) -> HttpResponse:
    attempt = get_object_or_404(SubscriptionAttempt, account=request.account, session_id=request.GET.get("session", ""))
    now = timezone.now()
    try:
        session = stripe_client.session_retrieve(session_id=request.GET["session"])
        attempt_follow(attempt=attempt, session=session)
        if session["subscription"]:
            subscription_refresh(subscription_id=session["subscription"], now=now)
    except DomainError as problem:
        logger.info("A plan's page waits: %s", problem.code)  # the message or the reconciler brings it
    wallet = Wallet.objects.get(pk=request.account.pk)
    there = wallet.subscribed and wallet.plan_code == attempt.plan_code
    context = {"wallet": wallet, "plan": plan_in_force(attempt.plan_code, now), "waits": not there}
    return render(request, "dashboard/billing/plan_done.html", context)


@account_page(section="billing", roles=PAYERS)
@require_POST
def portal(request: AccountRequest) -> HttpResponse:
    return _lead(
        request,
        lambda: portal_page(account=request.account, return_url=_address(request, "billing_back"), now=timezone.now()),
    )


@account_page(section="billing")
@require_safe
def portal_back(request: AccountRequest) -> HttpResponse:
    """Back from the portal: what was changed there shows at once, not when its message comes."""
    running = Subscription.objects.filter(account=request.account).exclude(status__in=Subscription.ENDED)
    try:
        for subscription in running:
            subscription_refresh(subscription_id=subscription.stripe_id, now=timezone.now())
    except DomainError:
        messages.info(request, _("Changes made in the portal show here within minutes."))
    return redirect("dashboard:billing")


@account_page(section="billing", roles=PAYERS)
@require_POST
def recharge(request: AccountRequest) -> HttpResponse:
    """Switches auto-recharge; without a saved card it leads to the page that saves one."""
    form = RechargeForm(request.POST)
    if not form.is_valid():
        return _page(request, status=400, recharge_form=form)
    try:
        row = recharge_set(
            account=request.account,
            enabled=form.cleaned_data["enabled"],
            threshold_cents=form.cents("threshold"),
            amount_cents=form.cents("amount"),
            monthly_cap_cents=form.cents("monthly_cap"),
        )
        if row.enabled and card_saved(request.account.pk) is None:
            return _lead(request, lambda: _card_page(request))
    except DomainError as problem:
        messages.error(request, problem.said)
        return redirect("dashboard:billing")
    messages.success(request, _("Auto-recharge is on.") if row.enabled else _("Auto-recharge is off."))
    return redirect("dashboard:billing")


def _card_page(request: AccountRequest) -> str:
    back = _address(request, "billing")
    return card_page(account=request.account, success_url=back, cancel_url=back, now=timezone.now())


@account_page(section="billing", roles=PAYERS)
@require_POST
def limits(request: AccountRequest) -> HttpResponse:
    form = LimitsForm(request.POST)
    if not form.is_valid():
        return _page(request, status=400, limits_form=form)
    data = form.cleaned_data
    wallet_settings(
        account_id=request.account.pk,
        continue_from_funds=data["continue_from_funds"],
        spend_warn_microusd=data["spend_warn"],
        spend_limit_microusd=data["spend_limit"],
        low_balance_microusd=data["low_balance"],
    )
    alert_address_set(account_id=request.account.pk, url=data["alert_url"])
    messages.success(request, _("Saved."))
    return redirect("dashboard:billing")


@account_page(section="billing", roles=PAYERS)
@require_safe
def invoices(request: AccountRequest) -> HttpResponse:
    """Stripe's own invoices, asked for when somebody looks."""
    rows: list[dict[str, Any]] = []
    problem = ""
    try:
        customer_id = _customer_of(request)
        rows = stripe_client.invoices_list(customer_id=customer_id) if customer_id else []
    except DomainError as refused:
        problem = refused.said
    shown = [
        {
            "number": row["number"] or row["id"],
            "created": moment(row["created"]),
            "amount_microusd": row["total"] * MICROUSD_PER_CENT,
            "status": _invoice_state(row["status"] or "draft"),
            "tone": INVOICE_TONES.get(row["status"], ""),
            "page": row.get("hosted_invoice_url"),
            "pdf": row.get("invoice_pdf"),
        }
        for row in rows
    ]
    return render(request, "dashboard/billing/invoices.html", {"invoices": shown, "problem": problem})


def _invoice_state(status: str) -> str:
    """Stripe's word for it in the reader's; one that Stripe may invent shows as it is."""
    words = {
        "draft": _("draft"),
        "open": _("open"),
        "paid": _("paid"),
        "uncollectible": _("given up"),
        "void": _("void"),
    }
    return words.get(status, status)


def _customer_of(request: AccountRequest) -> str | None:
    if not stripe_client.is_configured():
        raise PaymentsNotConfigured
    return customer_of(request.account.pk)
