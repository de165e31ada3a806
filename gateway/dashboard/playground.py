"""The playground: a signed-in person's call through the same order and admission as the API's, under a key of its own.

Nobody ever sees that key's text, so nobody can use it elsewhere; it stands in the list of keys like any other, with
its spend, and can be revoked there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.views import redirect_to_login
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import DomainError, phrase_said, sentence_said
from accounts.models import ApiKey
from accounts.selectors import key_by_lookup
from accounts.services import key_create
from billing.entitlements import terms_of
from gateway.api.authentication import SCOPE_GENERATE, Caller, key_require_usable
from gateway.api.errors import answer_to, error_body
from gateway.api.last_use import key_used
from gateway.api.orders import order_build
from gateway.api.pace import place_and_eta
from gateway.api.parsing import Call, client_address
from gateway.api.replies import generation_body
from gateway.dashboard.access import MAKERS, AccountRequest, account_page
from gateway.dashboard.payment import payment_of
from gateway.dashboard.pictures import Shown
from gateway.dashboard.playground_form import ROUTES, call_fields, operation_of
from gateway.dashboard.requests import generations_of
from gateway.services import generation_cancel, generation_place
from gateway.site.catalogue import model_at
from gateway.site.context import base_url
from gateway.site.model_pages import model_render
from gateway.site.schema import fields_of
from gateway.templatetags.units import ms, price
from inference.errors import InvalidRequest
from inference.models import Generation, ImageModel
from inference.selectors import model_find

KEY_NAME = "Playground"
KEPT_CHARS_MAX = 2000


@require_POST
def run(request: HttpRequest, provider: str, slug: str) -> HttpResponseBase:
    """A visitor is sent to log in and comes back to the form as it was; whoever is signed in makes the call."""
    if request.user.is_authenticated:
        return _run(request, provider=provider, slug=slug)
    fields = {name: value for name, value in request.POST.items() if value and name != "csrfmiddlewaretoken"}
    kept = urlencode(fields)
    page = reverse("site:model", kwargs={"provider": provider, "slug": slug})
    return redirect_to_login(f"{page}?{kept}" if len(kept) <= KEPT_CHARS_MAX else page)


@account_page(section="models", roles=MAKERS)
def _run(request: AccountRequest, provider: str, slug: str) -> HttpResponse:
    """Place the call. A script gets JSON; a plain form goes to the call's own page, which renews itself."""
    model, now = model_at(provider=provider, slug=slug), timezone.now()
    scripted = "application/json" in request.headers.get("Accept", "")
    try:
        generation = place(
            request,
            model,
            operation=operation_of(request, model),
            fields=call_fields(request.POST, request.FILES),
            now=now,
        )
    except DomainError as problem:
        body, status = fault_body(request, problem, model), answer_to(problem).status
        if scripted:
            return JsonResponse(body, status=status)
        return model_render(request, model, values=request.POST.dict(), fault=body, status=status)
    if scripted:
        return JsonResponse(job_json(request, generation), status=202)
    return redirect("dashboard:request", generation_id=generation.pk)


def fault_body(request: HttpRequest, problem: DomainError, model: ImageModel) -> dict[str, Any]:
    """A refusal as the API words it, with its message in the reader's language."""
    said = faults_said(problem.fields["faults"], model) if isinstance(problem, InvalidRequest) else problem.said
    return error_body(problem, request_id=getattr(request, "request_id", "")) | {"message": said}


def faults_said(faults: list[dict[str, Any]], model: ImageModel) -> str:
    """What is wrong with a call, by the names that the form gives its fields and in the reader's language."""
    labels = {field.name: gettext(field.label) for field in fields_of(model)}
    sentences = []
    for fault in faults:
        what, colon, reason = fault["message"].removeprefix(fault["field"]).strip(" .").partition(": ")
        subject = labels.get(fault["field"], fault["field"])
        sentences.append(f"{subject} {phrase_said(what)}{colon}{sentence_said(reason) if reason else ''}.")
    return " ".join(sentences)


def place(
    request: AccountRequest, model: ImageModel, *, operation: str, fields: dict[str, Any], now: datetime
) -> Generation:
    """One call under the account's playground key. Raises what an API call would be refused with, and notes the key's
    use like it."""
    caller = playground_caller(request, now)
    endpoint, profile = ROUTES[operation]
    key_require_usable(caller.key, address=client_address(request), origin=base_url(request), now=now)
    call = Call(
        key=None,
        fields=fields | {"model_id": model.model_id, "instant_response": "yes", "previews": "yes"},
        address=client_address(request),
        base_url=base_url(request),
        request_id=getattr(request, "request_id", ""),
        now=now,
        caller=caller,
    )
    order = order_build(call, endpoint=endpoint, version=endpoint[:2], profile=profile, caller=caller, body_digest="")
    placed = generation_place(caller=caller, order=order, idempotency_key=None, now=now).generation
    key_used(key_id=caller.key_id, address=call.address, endpoint=endpoint, now=now)
    return placed


def playground_caller(request: AccountRequest, now: datetime) -> Caller:
    """The account as a caller under its playground key, made at the first use or after it has ended."""
    mine = ApiKey.objects.filter(account=request.account, name=KEY_NAME, revoked_at=None, scopes=[SCOPE_GENERATE])
    usable = mine.filter(Q(expires_at=None) | Q(expires_at__gt=now))
    lookup = usable.values_list("lookup", flat=True).first()
    if lookup is None:
        made = key_create(account=request.account, name=KEY_NAME, now=now, scopes=(SCOPE_GENERATE,))
        lookup = made.api_key.lookup
    record = key_by_lookup(lookup)
    assert record is not None
    return Caller(record, terms_of(request.account.pk, now=now))


@account_page(section="models")
@require_safe
def job(request: AccountRequest, generation_id: int) -> JsonResponse:
    return JsonResponse(job_json(request, _mine(request, generation_id)))


@require_POST
@account_page(section="models", roles=MAKERS)
def cancel(request: AccountRequest, generation_id: int) -> JsonResponse:
    generation = _mine(request, generation_id)
    generation_cancel(account_id=request.account.pk, generation_id=generation.pk, now=timezone.now())
    return JsonResponse(job_json(request, _mine(request, generation_id)))


def _mine(request: AccountRequest, generation_id: int) -> Generation:
    found = generations_of(request.account).filter(pk=generation_id).first() if generation_id < 2**63 else None
    if found is None:
        raise Http404
    return found


def job_json(request: AccountRequest, generation: Generation) -> dict[str, Any]:
    """What the playground's script shows: where the call stands, and its pictures when there are some."""
    shown, (position, eta_s) = Shown(generation), place_and_eta(generation)
    reply = generation_body(
        generation,
        base_url=base_url(request),
        fetch_path=f"{generation.api_version}/images/fetch",
        request_id=getattr(request, "request_id", ""),
        queue_position=position,
        eta_s=eta_s,
    )
    return {
        "id": str(generation.pk),
        "state": generation.state,
        "settled": generation.settled,
        "position": position,
        "eta_s": eta_s,
        "step": generation.step,
        "steps": generation.steps,
        "preview": reply.get("preview"),
        "error": shown.problem,
        "code": generation.error_code,
        # It stands under each of the pictures, which cost the same.
        "charged": price(generation.charged_microusd // max(generation.images_delivered, 1)),
        "paid_by": shown.paid_by,
        "took": ms(shown.total_ms),
        "url": shown.url,
        "prompt": shown.prompt,
        "asked": generation.asked,
        "operation": generation.operation,
        "request_id": getattr(request, "request_id", ""),
        "reply": reply,
        "payment": payment_after(request, generation),
        "pictures": [
            {"url": p.url, "seed": p.seed, "width": p.width_px, "height": p.height_px, "flagged": p.flagged}
            for p in shown.pictures
        ],
    }


def payment_after(request: AccountRequest, generation: Generation) -> dict[str, Any] | None:
    """What would pay for the next such call, once this one has ended; None before, and when the model is gone."""
    try:
        price_code = model_find(generation.model_id).price_code if generation.settled else ""
    except DomainError:
        return None
    return payment_of(request.account, price_code=price_code, now=timezone.now()).to_json() if price_code else None
