"""A model's examples: pictures of calls that staff made in an account of their own, copied so that they stay.

Customers' calls cannot be taken: their pictures and words are theirs.
"""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.models import Membership
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.site.examples import EXAMPLES_MAX
from inference.models import Generation, ImageModel
from inference.storage import FileMissing, content_type_of, get_storage
from inference.storage.keys import output_key

# What of a call is shown and filled into the playground; pictures that it brought along are not public.
SHOWN = ("prompt", "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "scheduler")


class ExampleForm(forms.Form):
    call_id = forms.IntegerField(
        label="Id of a call",
        min_value=1,
        max_value=2**63 - 1,
        help_text="A finished call with this model, made in an account of yours.",
    )


@staff_page(section="models", needs=Permission.CATALOGUE)
@require_POST
def example_add(request: StaffRequest, model_id: str) -> HttpResponse:
    model = get_object_or_404(ImageModel, model_id=model_id)
    form = ExampleForm(request.POST)
    example = _example(request, model, form.cleaned_data["call_id"]) if form.is_valid() else None
    if example is None:
        messages.error(request, "There is no such call with this model in an account of yours, or it has no picture.")
    elif len(model.examples) >= EXAMPLES_MAX:
        messages.error(request, f"{EXAMPLES_MAX} examples are shown at most: take one out first.")
    else:
        _save(request, model, [*model.examples, example], "add example", example)
    return redirect("backoffice:model_edit", model_id=model_id)


@staff_page(section="models", needs=Permission.CATALOGUE)
@require_POST
def example_remove(request: StaffRequest, model_id: str) -> HttpResponse:
    model = get_object_or_404(ImageModel, model_id=model_id)
    picture = request.POST.get("picture", "")
    kept = [one for one in model.examples if one.get("picture") != picture]
    if len(kept) < len(model.examples):
        _save(request, model, kept, "remove example", {"picture": picture})
        if not picture.startswith("/"):
            get_storage().delete(picture)
    return redirect("backoffice:model_edit", model_id=model_id)


def _example(request: StaffRequest, model: ImageModel, call_id: int) -> dict[str, Any] | None:
    """The call's first picture under a key of its own, with the fields that made it."""
    mine = Membership.objects.filter(user=request.user).values("account_id")
    call = Generation.objects.filter(pk=call_id, account_id__in=mine, model_id=model.model_id, erased_at=None).first()
    if call is None or not call.images:
        return None
    image = call.images[0]
    extension = str(image["key"]).rpartition(".")[2]
    key = output_key(token=uuid.uuid4().hex, index=0, extension=extension)
    try:
        data = get_storage().read(image["key"])
    except FileMissing:
        return None
    get_storage().write(key, data, content_type_of(key) or "image/png")
    fields = {name: call.asked[name] for name in SHOWN if call.asked.get(name) not in (None, "")}
    return {"picture": key, "call": fields | {"seed": image["seed"]}}


@transaction.atomic
def _save(request: StaffRequest, model: ImageModel, examples: list[Any], action: str, about: dict[str, Any]) -> None:
    model.examples = examples
    model.save(update_fields=["examples", "updated_at"])
    staff_action_record(
        by=request.user, action=action, target=f"model:{model.model_id}", after=about, now=timezone.now()
    )
