"""One model's page and its twins for machines. The playground's form, the parameter table, the markdown and the JSON
schema come from one list of fields (gateway.site.schema), so that they cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.models import Membership
from gateway.dashboard.access import membership_in_use
from gateway.dashboard.payment import payment_of
from gateway.dashboard.pictures import Shown
from gateway.dashboard.playground_form import Form, form_of, values_asked
from gateway.site import catalogue, error_list, performance
from gateway.site.context import base_url
from gateway.site.examples import examples_of
from gateway.site.negotiation import MARKDOWN, varied, wants_markdown
from gateway.site.plans import plan_cards
from gateway.site.samples import PATH, Sample, samples
from gateway.site.schema import fields_of, json_schema
from gateway.site.speech import english
from inference.models import Generation, ImageModel

HISTORY = 8
EXAMPLE_REPLY: dict[str, Any] = {
    "status": "success",
    "id": 812345678901234,
    "generationTime": 0.91,
    "output": ["https://.../generations/5f0c-0.png"],
}


@require_safe
def model_page(request: HttpRequest, provider: str, slug: str) -> HttpResponse:
    if wants_markdown(request):
        return varied(model_markdown(request, provider, slug))
    return model_render(request, catalogue.model_at(provider=provider, slug=slug), values=request.GET.dict())


def model_render(
    request: HttpRequest,
    model: ImageModel,
    *,
    values: Mapping[str, str],
    fault: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page with the form filled from `values`, and from the account's call that `job` in them names.

    `fault` is the body of a refusal.
    """
    now = timezone.now()
    entry = catalogue.entries([model], now=now)[0]
    membership = membership_in_use(request) if request.user.is_authenticated else None
    job = _job(membership, values.get("job", ""), model)
    if job is not None:
        values = {**values_asked(job.asked, operation=job.operation), **values}
    form = form_of(model, values)
    context = {
        "section": "models",
        "model": model,
        "entry": entry,
        **_ending(entry),
        "fields": fields_of(model),
        "form": form,
        "fault": fault,
        "job": job,
        "upscaler": catalogue.first_able("upscale"),
        "samples": _samples(request, model, form),
        "examples": examples_of(model),
        "related": catalogue.entries(catalogue.related(model), now=now),
        "plans": [(card, covered(card.plan.unlimited_price_codes, model)) for card in plan_cards(now=now)],
        "performance": performance.of(model.model_id, now=now),
        **_of_reader(request, membership, model, now),
    }
    return varied(render(request, "models/page.html", context, status=status))


def _ending(entry: catalogue.Entry) -> dict[str, Any]:
    """Whether the model is about to go, and the published one that takes its place."""
    if not entry.deprecated:
        return {}
    replacement = ImageModel.objects.filter(pk=entry.model.replaced_by_id or 0, published=True).first()
    return {"deprecated": True, "replacement": replacement}


def _job(membership: Membership | None, text: str, model: ImageModel) -> Generation | None:
    if membership is None or not text.isdecimal() or len(text) > 18:
        return None
    mine = Generation.objects.filter(account_id=membership.account_id, model_id=model.model_id)
    return mine.filter(pk=int(text)).first()


def _samples(request: HttpRequest, model: ImageModel, form: Form) -> list[Sample]:
    """The call in every language, then as the bare request and what it is answered."""
    path = next((choice.path for choice in form.choices if choice.chosen), PATH)
    body = first_body(model)
    address = base_url(request)
    return [
        *samples(base_url=address, key="$API_KEY", body=body, path=path),
        Sample("request", _("JSON request"), json.dumps(body, indent=2)),
        Sample("response", _("JSON response"), json.dumps(EXAMPLE_REPLY | {"meta": body}, indent=2)),
    ]


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


def _of_reader(request: HttpRequest, membership: Membership | None, model: ImageModel, now: datetime) -> dict[str, Any]:
    """What the playground shows a customer: what would pay, and the pictures that they made with this model before."""
    if membership is None:
        return {"history": []}
    payment = payment_of(membership.account, price_code=model.price_code, now=now)
    mine = Generation.objects.filter(account_id=membership.account_id, model_id=model.model_id).order_by("-id")
    request.account = membership.account  # type: ignore[attr-defined]
    shown = [Shown(row) for row in mine.defer("spec", "reply")[:HISTORY] if row.images]
    return {"history": shown, "payment": payment, "pays": payment.to_json()}


@require_safe
@english
def model_markdown(request: HttpRequest, provider: str, slug: str) -> HttpResponse:
    model = catalogue.model_at(provider=provider, slug=slug)
    entry = catalogue.entries([model], now=timezone.now())[0]
    context = {
        "model": model,
        "entry": entry,
        **_ending(entry),
        "fields": fields_of(model),
        "examples": examples_of(model),
        "samples": samples(base_url=base_url(request), key="$API_KEY", body=first_body(model))[:2],
        "errors": error_list.rows(),
        "base_url": base_url(request),
        "path": PATH,
        "wait_s": settings.WAIT_TIMEOUT_S,
    }
    return render(request, "models/api.md", context, content_type=MARKDOWN)


@require_safe
@english
def model_schema(request: HttpRequest, provider: str, slug: str) -> JsonResponse:
    return JsonResponse(json_schema(catalogue.model_at(provider=provider, slug=slug)))
