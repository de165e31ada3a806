"""Compare mode: one prompt on up to four models or settings side by side, with the price of all before the click.

Everything stands in the address, so that a comparison can be shared. With a script the pictures appear beside each
other; without one the calls are placed together and followed in the request log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import DomainError
from gateway.api.errors import answer_to
from gateway.dashboard.access import MAKERS, AccountRequest, account_page, membership_in_use
from gateway.dashboard.playground import fault_body, place
from gateway.dashboard.playground_form import FIRST_PROMPT
from gateway.site import catalogue
from inference.models import ImageModel

COLUMNS_MAX = 4
LISTED_MAX = 200
OWN = ("num_inference_steps", "guidance_scale", "seed")
COMMON = ("prompt", "negative_prompt", "width", "height")


@dataclass(frozen=True, slots=True)
class Column:
    """One model with the settings that are its own here; empty ones are the model's defaults."""

    number: int
    model_id: str
    entry: catalogue.Entry | None
    settings: dict[str, str]

    @property
    def price_microusd(self) -> int:
        return (self.entry.price_microusd or 0) if self.entry else 0


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    return compare_render(request, request.GET)


def compare_render(
    request: HttpRequest, given: QueryDict, *, fault: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    listed = catalogue.entries(list(_drawing()[:LISTED_MAX]), now=now)
    columns = columns_of(given, listed, now)
    if request.user.is_authenticated and (membership := membership_in_use(request)):
        request.account = membership.account  # type: ignore[attr-defined]
    known = {entry.model.model_id: entry for entry in listed}
    known |= {column.model_id: column.entry for column in columns if column.entry}
    context = {
        "section": "models",
        "columns": columns,
        "common": {name: given.get(name, "") for name in COMMON} | {"prompt": given.get("prompt") or FIRST_PROMPT},
        "listed": listed,
        "total_microusd": sum(column.price_microusd for column in columns),
        "models": {model_id: _for_script(entry) for model_id, entry in known.items()},
        "fault": fault,
    }
    return render(request, "models/compare.html", context, status=status)


def _drawing() -> Any:
    query = catalogue.Query(chosen={"task": "text2img"}, sort="popular")
    return catalogue.search(query, now=timezone.now())


def columns_of(given: QueryDict, listed: list[catalogue.Entry], now: datetime) -> list[Column]:
    """Four of them; the first two are the most used models where the address names none."""
    names = [name.strip()[:120] for name in given.getlist("model")][:COLUMNS_MAX]
    if not any(names):
        names = [entry.model.model_id for entry in (listed * 2)[:2]]
    names += [""] * (COLUMNS_MAX - len(names))
    found = {model.model_id: model for model in ImageModel.objects.filter(model_id__in=names, published=True)}
    entries = {entry.model.model_id: entry for entry in catalogue.entries(list(found.values()), now=now)}
    return [
        Column(
            number=number,
            model_id=name,
            entry=entries.get(name),
            settings={own: (given.getlist(own) + [""] * COLUMNS_MAX)[number - 1][:24] for own in OWN},
        )
        for number, name in enumerate(names, start=1)
    ]


def _for_script(entry: catalogue.Entry) -> dict[str, Any]:
    kwargs = {"provider": entry.model.provider, "slug": entry.model.model_id}
    return {
        "name": entry.model.name,
        "price": entry.price_microusd or 0,
        "run": reverse("playground:run", kwargs=kwargs),
    }


@require_POST
@account_page(section="models", roles=MAKERS)
def compare_run(request: AccountRequest) -> HttpResponse:
    """Without a script: place every column's call, then show them in the log. The first refusal stops and is told."""
    now = timezone.now()
    columns = [column for column in columns_of(request.POST, [], now) if column.entry]
    for column in columns:
        assert column.entry is not None
        common = {name: request.POST.get(name, "") for name in COMMON}
        fields = {name: value for name, value in (common | column.settings).items() if value}
        try:
            place(request, column.entry.model, operation="text2img", fields=fields, now=now)
        except DomainError as problem:
            fault = fault_body(request, problem, column.entry.model)
            return compare_render(request, request.POST, fault=fault, status=answer_to(problem).status)
    return redirect(f"{reverse('dashboard:requests')}?from={int(now.timestamp())}")
