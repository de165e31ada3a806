"""The playground: a signed-in person's call through the same order and admission as the API's, under a key of its own.

Nobody ever sees that key's text, so nobody can use it elsewhere; it stands in the list of keys like any other, with
its spend, and can be revoked there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import DomainError
from accounts.models import ApiKey
from accounts.selectors import key_by_lookup
from accounts.services import key_create
from billing.entitlements import terms_of
from gateway.api.authentication import SCOPE_GENERATE, Caller
from gateway.api.errors import answer_to, error_body
from gateway.api.orders import order_build
from gateway.api.pace import place_and_eta
from gateway.api.parsing import Call, client_address
from gateway.api.profiles import TEXT_TO_IMAGE
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.pictures import Shown
from gateway.dashboard.requests import generations_of
from gateway.services import generation_cancel, generation_place
from gateway.site.catalogue import model_at
from gateway.site.context import base_url
from gateway.templatetags.units import ms, price
from inference.models import Generation

KEY_NAME = "Playground"
ENDPOINT = "v7/images/text-to-image"


@require_POST
@account_page(section="models", roles=MAKERS)
def run(request: AccountRequest, provider: str, slug: str) -> HttpResponse:
    """Place the call. A script gets JSON; a plain form goes to the call's own page, which renews itself."""
    model, now = model_at(provider=provider, slug=slug), timezone.now()
    try:
        generation = _place(request, model.model_id, now)
    except DomainError as problem:
        body = error_body(problem, request_id=getattr(request, "request_id", ""))
        return JsonResponse(body, status=answer_to(problem).status)
    if "application/json" in request.headers.get("Accept", ""):
        return JsonResponse(job_json(generation), status=202)
    return redirect("dashboard:request", generation_id=generation.pk)


def _place(request: AccountRequest, model_id: str, now: datetime) -> Generation:
    caller = playground_caller(request, now)
    fields: dict[str, Any] = {name: value for name, value in request.POST.items() if name != "csrfmiddlewaretoken"}
    call = Call(
        key=None,
        fields=fields | {"model_id": model_id, "instant_response": "yes"},
        address=client_address(request),
        base_url=base_url(request),
        request_id=getattr(request, "request_id", ""),
        now=now,
        caller=caller,
    )
    order = order_build(call, endpoint=ENDPOINT, version="v7", profile=TEXT_TO_IMAGE, caller=caller, body_digest="")
    return generation_place(caller=caller, order=order, idempotency_key=None, now=now).generation


def playground_caller(request: AccountRequest, now: datetime) -> Caller:
    """The account as a caller under its playground key, made at the first use or after it was revoked."""
    mine = ApiKey.objects.filter(account=request.account, name=KEY_NAME, revoked_at=None, scopes=[SCOPE_GENERATE])
    lookup = mine.values_list("lookup", flat=True).first()
    if lookup is None:
        made = key_create(account=request.account, name=KEY_NAME, now=now, scopes=(SCOPE_GENERATE,))
        lookup = made.api_key.lookup
    record = key_by_lookup(lookup)
    assert record is not None
    return Caller(record, terms_of(request.account.pk, now=now))


@account_page(section="models")
@require_safe
def job(request: AccountRequest, generation_id: int) -> JsonResponse:
    return JsonResponse(job_json(_mine(request, generation_id)))


@require_POST
@account_page(section="models", roles=MAKERS)
def cancel(request: AccountRequest, generation_id: int) -> JsonResponse:
    generation = _mine(request, generation_id)
    generation_cancel(account_id=request.account.pk, generation_id=generation.pk, now=timezone.now())
    return JsonResponse(job_json(_mine(request, generation_id)))


def _mine(request: AccountRequest, generation_id: int) -> Generation:
    found = generations_of(request.account).filter(pk=generation_id).first() if generation_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def job_json(generation: Generation) -> dict[str, Any]:
    """What the playground's script shows: where the call stands, and its pictures when there are some."""
    shown, (position, eta_s) = Shown(generation), place_and_eta(generation)
    return {
        "id": str(generation.pk),
        "state": generation.state,
        "settled": generation.settled,
        "position": position,
        "eta_s": eta_s,
        "step": generation.step,
        "steps": generation.steps,
        "error": generation.error_message,
        "code": generation.error_code,
        "charged": price(generation.charged_microusd),
        "paid_by": shown.paid_by,
        "took": ms(shown.total_ms),
        "url": shown.url,
        "prompt": shown.prompt,
        "asked": generation.asked,
        "pictures": [
            {"url": p.url, "seed": p.seed, "width": p.width_px, "height": p.height_px, "flagged": p.flagged}
            for p in shown.pictures
        ],
    }
