"""A plan before it is taken: what it changes for this account, and what it costs."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from billing import stripe_client
from billing.entitlements import Terms, plan_in_force, terms_from
from billing.models import Plan, Wallet
from billing.money import MICROUSD_PER_CENT
from billing.prices import plans_for_sale
from billing.subscriptions import subscription_shown
from gateway.dashboard.access import PAYERS, AccountRequest, account_page
from gateway.dashboard.billing import provider_pages
from gateway.site.plans import price_names
from gateway.templatetags.units import money, number


@account_page(section="billing")
@require_safe
def plan(request: AccountRequest, code: str) -> HttpResponse:
    """What the plan changes for this account, its own limits counted, before anything is confirmed or paid."""
    now = timezone.now()
    offer = next((offer for offer in plans_for_sale(now) if offer.code == code), None)
    if offer is None:
        raise Http404
    wallet = Wallet.objects.get(pk=request.account.pk)
    current = plan_in_force(wallet.plan_code, now)
    context = {
        "offer": offer,
        "current": current,
        "monthly_microusd": offer.monthly_price_cents * MICROUSD_PER_CENT,
        "rows": _compared(wallet, current, offer),
        "wallet": wallet,
        "subscription": subscription_shown(request.account.pk),
        "dearer": offer.monthly_price_cents > current.monthly_price_cents,
        "loses_free_calls": terms_from(wallet, current).free_calls_per_day if not offer.free_calls_per_day else 0,
        "may_pay": request.role in PAYERS and stripe_client.is_configured(),
    }
    response = render(request, "dashboard/billing/plan.html", context)
    response._csp_update = {"form-action": provider_pages()}  # type: ignore[attr-defined]
    return response


def _compared(wallet: Wallet, current: Plan, offer: Plan) -> list[tuple[str, str, str, bool]]:
    """Label, now, then, and whether it differs."""
    sides = [_facts(plan, terms_from(wallet, plan)) for plan in (current, offer)]
    return [(label, now, then, now != then) for (label, now), (_, then) in zip(*sides, strict=True)]


def _facts(plan: Plan, terms: Terms) -> list[tuple[str, str]]:
    beyond = _("Paid from funds") if terms.pays_from_funds else _("Refused, unless you go on from funds")
    return [
        (_("Price a month"), money(plan.monthly_price_cents * MICROUSD_PER_CENT)),
        (_("Covered without a limit"), _unlimited(terms)),
        (_("Calls of a period"), number(plan.period_calls) if plan.period_calls is not None else _("None")),
        (_("Free calls a UTC day"), number(terms.free_calls_per_day) if terms.free_calls_per_day else _("None")),
        (_("Beyond all that"), _("All is covered") if terms.covers("*") else beyond),
        (_("Calls a minute"), number(terms.calls_per_minute)),
        (_("Calls queued at once"), number(terms.queued_calls)),
        (_("Render workers"), _("Your own") if terms.dedicated_workers else _("Shared")),
    ]


def _unlimited(terms: Terms) -> str:
    if terms.covers("*"):
        return _("Every model")
    names = price_names()
    return ", ".join(names.get(code, code) for code in terms.unlimited_price_codes) or _("Nothing")
