"""Changing the catalogue: a model's row, and new models from files, the hub and the web."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.models import Price
from gateway.backoffice.access import Permission, StaffRequest, staff_page
from gateway.backoffice.actions import staff_action_record
from gateway.backoffice.catalogue_forms import FIELDS, ImportForm, ModelForm
from gateway.backoffice.examples import ExampleForm
from gateway.backoffice.navigation import console_render
from gateway.importing import ImportRefused, import_begin, import_retry
from gateway.models import ImportState, ModelImport
from gateway.site.examples import examples_listed
from inference.models import ImageModel

NEWEST = 20


def price_codes() -> list[str]:
    return sorted(Price.objects.filter(account=None).values_list("price_code", flat=True).distinct())


@staff_page(section="models", needs=Permission.CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def model_edit(request: StaffRequest, model_id: str) -> HttpResponse:
    model = get_object_or_404(ImageModel, model_id=model_id)
    before = _values(model)
    form = ModelForm(request.POST or None, instance=model, codes=sorted({*price_codes(), model.price_code}))
    if request.method == "POST" and form.is_valid():
        _model_save(request, form, before)
        messages.success(request, f"{model.model_id} is changed; calls see it within a second.")
        return redirect("backoffice:models")
    context = {"model": model, "form": form, "examples": examples_listed(model), "example_form": ExampleForm()}
    return console_render(request, "backoffice/model.html", context)


def _values(model: ImageModel) -> dict[str, Any]:
    """The row as the record of staff keeps it: plain values."""
    values = {name: getattr(model, name) for name in FIELDS}
    plain = {name: value.isoformat() for name, value in values.items() if isinstance(value, datetime)}
    return values | plain | {"replaced_by": model.replaced_by and model.replaced_by.model_id}


@transaction.atomic
def _model_save(request: StaffRequest, form: ModelForm, before: dict[str, Any]) -> None:
    model: ImageModel = form.save()
    after = _values(model)
    changed = [name for name in FIELDS if before[name] != after[name]]
    if changed:
        staff_action_record(
            by=request.user,
            action="edit model",
            target=f"model:{model.model_id}",
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
            reason=form.cleaned_data["reason"],
            now=timezone.now(),
        )


@staff_page(section="models", needs=Permission.CATALOGUE)
@require_http_methods(["GET", "HEAD", "POST"])
def imports(request: StaffRequest) -> HttpResponse:
    form = ImportForm(request.POST or None, codes=price_codes())
    if request.method == "POST" and form.is_valid() and _begun(request, form):
        messages.success(request, "It is noted: the worker begins within seconds. The model stays hidden at first.")
        return redirect("backoffice:imports")
    return console_render(request, "backoffice/imports.html", {"form": form, **_rows()})


@staff_page(section="models", needs=Permission.CATALOGUE)
@require_safe
def imports_table(request: StaffRequest) -> HttpResponse:
    """The table alone: the page asks for it while something is under way."""
    return console_render(request, "backoffice/imports_table.html", _rows())


def _rows() -> dict[str, Any]:
    rows = list(ModelImport.objects.select_related("made_by").order_by("-pk")[:NEWEST])
    made = [row.row["model_id"] for row in rows]
    return {
        "rows": rows,
        "busy": any(row.state in (ImportState.WAITING, ImportState.RUNNING) for row in rows),
        # A model may have been removed since it was imported.
        "standing": set(ImageModel.objects.filter(model_id__in=made).values_list("model_id", flat=True)),
    }


def _begun(request: StaffRequest, form: ImportForm) -> bool:
    data, now = form.cleaned_data, timezone.now()
    try:
        with transaction.atomic():
            made = import_begin(
                kind=data["kind"],
                asked=data["asked"],
                family=data["family"],
                row=form.row(),
                by=request.user,
                now=now,
                revision=data["revision"],
                sha256=data["sha256"],
            )
            staff_action_record(
                by=request.user,
                action="import model",
                target=f"model:{data['model_id']}",
                after={"import": made.pk, "kind": made.kind, "asked": made.asked, "family": made.family},
                reason=data["reason"],
                now=now,
            )
    except ImportRefused as problem:
        form.add_error(problem.field, str(problem))
        return False
    return True


@staff_page(section="models", needs=Permission.CATALOGUE)
@require_POST
def import_again(request: StaffRequest, import_id: int) -> HttpResponse:
    model_import = get_object_or_404(ModelImport, pk=import_id)
    with transaction.atomic():
        if import_retry(model_import=model_import):
            staff_action_record(
                by=request.user,
                action="retry import",
                target=f"model:{model_import.row['model_id']}",
                before={"state": model_import.state, "problem": model_import.problem},
                after={"state": ImportState.WAITING.value},
                now=timezone.now(),
            )
            messages.success(request, "It begins again within seconds.")
    return redirect("backoffice:imports")
