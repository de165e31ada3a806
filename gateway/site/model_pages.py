"""One model's page and its twins for machines. The playground's form, the parameter table, the markdown and the JSON
schema come from one list of fields (gateway.site.schema), so that they cannot disagree.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from gateway.dashboard.access import membership_in_use
from gateway.dashboard.pictures import Shown
from gateway.site import catalogue, error_list, performance
from gateway.site.context import base_url
from gateway.site.plans import plan_cards
from gateway.site.samples import PATH, samples
from gateway.site.schema import fields_of, json_schema
from inference.models import Generation, ImageModel

HISTORY = 8


@require_safe
def model_page(request: HttpRequest, provider: str, slug: str) -> HttpResponse:
    if "text/markdown" in request.headers.get("Accept", ""):
        return model_markdown(request, provider, slug)
    model, now = catalogue.model_at(provider=provider, slug=slug), timezone.now()
    entry = catalogue.entries([model], now=now)[0]
    context = {
        "section": "models",
        "model": model,
        "entry": entry,
        "fields": fields_of(model),
        "samples": samples(base_url=base_url(request), key="$API_KEY", body=first_body(model)),
        "related": catalogue.entries(catalogue.related(model), now=now),
        "plans": [(card, covered(card.plan.unlimited_price_codes, model)) for card in plan_cards(now=now)],
        "performance": performance.of(model.model_id, now=now),
        **_of_reader(request, model, entry.price_microusd, now),
    }
    return render(request, "models/page.html", context)


def first_body(model: ImageModel) -> dict[str, Any]:
    return {
        "model_id": model.model_id,
        "prompt": "a red circle on a blue background",
        "width": model.width_px_default,
        "height": model.height_px_default,
        "samples": 1,
    }


def covered(price_codes: list[str], model: ImageModel) -> bool:
    return "*" in price_codes or model.price_code in price_codes


def _of_reader(request: HttpRequest, model: ImageModel, price_microusd: int | None, now: datetime) -> dict[str, Any]:
    """What the playground shows a customer: the pictures that they made with this model before."""
    membership = membership_in_use(request) if request.user.is_authenticated else None
    if membership is None:
        return {"history": []}
    mine = Generation.objects.filter(account_id=membership.account_id, model_id=model.model_id).order_by("-id")
    request.account = membership.account  # type: ignore[attr-defined]
    return {"history": [Shown(row) for row in mine.defer("spec", "reply")[:HISTORY] if row.images]}


@require_safe
def model_markdown(request: HttpRequest, provider: str, slug: str) -> HttpResponse:
    model = catalogue.model_at(provider=provider, slug=slug)
    context = {
        "model": model,
        "entry": catalogue.entries([model], now=timezone.now())[0],
        "fields": fields_of(model),
        "samples": samples(base_url=base_url(request), key="$API_KEY", body=first_body(model))[:2],
        "errors": error_list.rows(),
        "base_url": base_url(request),
        "path": PATH,
        "wait_s": settings.WAIT_TIMEOUT_S,
    }
    return render(request, "models/api.md", context, content_type="text/markdown; charset=utf-8")


@require_safe
def model_schema(request: HttpRequest, provider: str, slug: str) -> JsonResponse:
    return JsonResponse(json_schema(catalogue.model_at(provider=provider, slug=slug)))
