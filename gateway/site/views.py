"""The public pages. Visitors cost no session and at most a few queries; nothing here writes but the theme's cookie."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from billing.models import Wallet
from gateway.dashboard.access import membership_in_use
from gateway.site import catalogue, demo_pictures, status_history
from gateway.site import status as probes
from gateway.site.context import THEME_COOKIE, THEMES, base_url
from gateway.site.docs import PAGES
from gateway.site.estimate import Asked, lines
from gateway.site.facets import SORTS
from gateway.site.negotiation import MARKDOWN, varied, wants_markdown
from gateway.site.plans import plan_cards, price_rows
from gateway.site.samples import samples
from gateway.site.speech import english
from inference.models import ImageModel

YEAR_S = 365 * 24 * 3600
LLMS_MODELS_MAX = 200


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    if wants_markdown(request):
        return varied(llms(request))
    now = timezone.now()
    context = {
        "section": "home",
        "pictures": demo_pictures.pictures(),
        "plans": plan_cards(now=now),
        "prices": price_rows(now=now),
        "samples": samples(base_url=base_url(request), key="$API_KEY"),
    }
    return varied(render(request, "site/home.html", context))


@require_safe
def pricing(request: HttpRequest) -> HttpResponse:
    if wants_markdown(request):
        return varied(pricing_markdown(request))
    now = timezone.now()
    cards, prices = plan_cards(now=now), price_rows(now=now)
    asked = Asked.parse(request.GET, prices)
    context = {
        "section": "pricing",
        "plans": cards,
        "prices": prices,
        "asked": asked,
        "estimate": lines(asked, cards, prices),
        "own_plan": _own_plan(request),
    }
    return varied(render(request, "site/pricing.html", context))


def _own_plan(request: HttpRequest) -> str:
    """The code of the plan of the account that the reader works in; empty for visitors."""
    membership = membership_in_use(request) if request.user.is_authenticated else None
    return Wallet.objects.get(pk=membership.account_id).plan_code if membership else ""


@require_safe
@english
def pricing_json(request: HttpRequest) -> JsonResponse:
    now = timezone.now()
    return JsonResponse({"currency": "usd", "plans": _plans_json(now), "images": _prices_json(now)})


@require_safe
@english
def pricing_markdown(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    context = {"plans": plan_cards(now=now), "prices": price_rows(now=now), "site_name": settings.SITE_NAME}
    return render(request, "site/pricing.md", context, content_type=MARKDOWN)


def _plans_json(now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "code": card.plan.code,
            "name": card.plan.name,
            "monthly_microusd": card.monthly_microusd,
            "calls_per_minute": card.plan.calls_per_minute,
            "queued_calls": card.plan.queued_calls,
            "free_calls_per_day": card.plan.free_calls_per_day,
            "period_calls": card.plan.period_calls,
            "unlimited_price_codes": card.plan.unlimited_price_codes,
        }
        for card in plan_cards(now=now)
    ]


def _prices_json(now: datetime) -> list[dict[str, Any]]:
    return [
        {"price_code": row.code, "name": row.name, "microusd_per_image": row.amount_microusd}
        for row in price_rows(now=now)
    ]


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    if wants_markdown(request) or request.path.endswith(".md"):
        return varied(status_markdown(request))
    return varied(render(request, "site/status.html", _status(timezone.now())))


@english
def status_markdown(request: HttpRequest) -> HttpResponse:
    return render(request, "site/status.md", _status(timezone.now()), content_type=MARKDOWN)


def _status(now: datetime) -> dict[str, Any]:
    report = probes.report(now=now)
    return {
        "section": "status",
        "report": report,
        "history": status_history.history([probe.name for probe in report.probes], now=now),
        "days": status_history.DAYS,
        "incidents": status_history.incidents(),
        "site_name": settings.SITE_NAME,
    }


@require_safe
@english
def status_json(request: HttpRequest) -> JsonResponse:
    return JsonResponse(probes.report(now=timezone.now()).to_json())


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """The theme switch without a script: a cookie, and back to where one was."""
    chosen, target = request.POST.get("theme", ""), request.POST.get("next", "/")
    safe = url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    response = HttpResponseRedirect(target if safe else "/")
    if chosen in THEMES:
        response.set_cookie(THEME_COOKIE, chosen, max_age=YEAR_S, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
    return response


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """The language of this browser, and of the person's profile when somebody is logged in."""
    chosen, target = request.POST.get("language", ""), request.POST.get("next", "/")
    safe = url_has_allowed_host_and_scheme(target, allowed_hosts=None)
    response = HttpResponseRedirect(target if safe else "/")
    if chosen in dict(settings.LANGUAGES):
        secure = settings.SESSION_COOKIE_SECURE
        response.set_cookie(settings.LANGUAGE_COOKIE_NAME, chosen, max_age=YEAR_S, samesite="Lax", secure=secure)
        if request.user.is_authenticated:
            User.objects.filter(pk=request.user.pk).update(language=chosen)
    return response


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    query, now = catalogue.Query.parse(request.GET), timezone.now()
    if wants_markdown(request) or request.path.endswith(".md"):
        return varied(models_markdown(request, query))
    context = _models(request, query, now) | {"facets": catalogue.facets(query, now=now), "sorts": SORTS.items()}
    fragment = getattr(request, "htmx", False) and request.htmx.target == "found"  # type: ignore[attr-defined]
    return varied(render(request, "models/found.html" if fragment else "models/list.html", context))


@english
def models_markdown(request: HttpRequest, query: catalogue.Query) -> HttpResponse:
    context = _models(request, query, timezone.now())
    context |= {"base_url": base_url(request), "site_name": settings.SITE_NAME}
    return render(request, "models/list.md", context, content_type=MARKDOWN)


def _models(request: HttpRequest, query: catalogue.Query, now: datetime) -> dict[str, Any]:
    page = catalogue.page_of(catalogue.search(query, now=now), request.GET.get("page"))
    entries = catalogue.entries(list(page.object_list), now=now)
    return {"section": "models", "query": query, "page": page, "entries": entries}


@require_safe
@english
def llms(request: HttpRequest) -> HttpResponse:
    """The site for machines that read: what is here, and where its markdown twins are."""
    context = {
        "site_name": settings.SITE_NAME,
        "base_url": base_url(request),
        "docs": PAGES.values(),
        "models": catalogue.search(catalogue.Query(), now=timezone.now())[:LLMS_MODELS_MAX],
        "more": max(ImageModel.objects.filter(published=True).count() - LLMS_MODELS_MAX, 0),
        "prices": price_rows(now=timezone.now()),
    }
    return render(request, "site/llms.txt", context, content_type="text/plain; charset=utf-8")


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    lines = ["User-agent: *", "Disallow: /dashboard", "Disallow: /accounts/", "Disallow: /api/", ""]
    return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8")


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(settings.SITE_LOGO_URL or static("img/icon.svg"))
