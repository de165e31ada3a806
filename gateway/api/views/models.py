"""The catalogue in the shapes of each generation of the API."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from gateway.api.authentication import SCOPE_GENERATE, SCOPE_READ
from gateway.api.catalogue import model_of
from gateway.api.fields import Fields
from gateway.api.pace import queue_eta_s
from gateway.api.parsing import Call
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from inference.engine import scheduler_names
from inference.engine.spec import Family
from inference.models import ImageModel
from inference.selectors import ListHolds, models_published, queue_length

PAGE_DEFAULT, PAGE_MAX = 20, 100
SEARCH_CHARS_MAX = 100
# What _legacy shows: descriptions of ten thousand models are enough to carry.
LEGACY_COLUMNS = ("model_id", "created_at", "trigger_words", "name", "description", "thumbnail")


def legacy_list(call: Call, route: Route, _id: str) -> Reply:
    """v3 and v4: a bare list."""
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    return Reply([_legacy(model) for model in models_published().only(*LEGACY_COLUMNS)])


def _legacy(model: ImageModel) -> dict[str, Any]:
    return {
        "model_id": model.model_id,
        "status": "model_ready",
        "created_at": model.created_at.isoformat(),
        "instance_prompt": model.trigger_words,
        "model_name": model.name,
        "description": model.description,
        "screenshots": model.thumbnail,
    }


def enterprise_list(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    models = [
        {"model_id": model.model_id, "load_data": _legacy(model)} for model in models_published().only(*LEGACY_COLUMNS)
    ]
    return Reply({"status": "success", "models": models})


def search(call: Call, route: Route, _id: str) -> Reply:
    """Filters: search (or q, keywords), feature, family, provider, tag. Pages: page, limit."""
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    fields = Fields(call.fields)
    page = fields.whole("page", default=1, low=1, high=1_000_000)
    limit = fields.whole("limit", "per_page", default=PAGE_DEFAULT, low=1, high=PAGE_MAX)
    found = _found(fields)
    fields.check()
    total = found.count()
    shown = found[(page - 1) * limit : page * limit]
    body = {
        "status": "success",
        "data": [_described(model) for model in shown],
        "page": page,
        "limit": limit,
        "total": total,
        "pages": -(-total // limit),
        "request_id": call.request_id,
    }
    return Reply(body)


def _found(fields: Fields) -> QuerySet[ImageModel]:
    models = models_published().select_related("replaced_by")
    if text := fields.text("search", "q", "query", "keywords", chars_max=SEARCH_CHARS_MAX):
        models = models.filter(Q(model_id__icontains=text) | Q(name__icontains=text) | Q(description__icontains=text))
    if family := fields.text("family", "model_category", "category", chars_max=40):
        models = models.filter(family=family)
    if provider := fields.text("provider", chars_max=60):
        models = models.filter(provider=provider)
    if feature := fields.text("feature", "operation", chars_max=40):
        models = models.filter(ListHolds("operations", feature))
    if tag := fields.text("tag", "tags", chars_max=60):
        models = models.filter(ListHolds("tags", tag))
    return models


def _described(model: ImageModel) -> dict[str, Any]:
    return _legacy(model) | {
        "id": model.model_id,
        "name": model.name,
        "provider": model.provider,
        "family": model.family,
        "features": model.operations,
        "tags": model.tags,
        "licence": model.licence,
        "deprecated_at": model.deprecated_at and model.deprecated_at.isoformat(),
        "sunset_at": model.sunset_at and model.sunset_at.isoformat(),
        "replaced_by": model.replaced_by and model.replaced_by.model_id,
        "defaults": {
            "width": model.width_px_default,
            "height": model.height_px_default,
            "num_inference_steps": model.steps_default,
            "guidance_scale": model.guidance_scale_default,
            "scheduler": model.scheduler_default or None,
        },
        "limits": {
            "width": [model.side_px_min, model.side_px_max],
            "height": [model.side_px_min, model.side_px_max],
            "num_inference_steps": model.steps_max,
            "samples": model.samples_max,
        },
    }


def one(call: Call, route: Route, model_id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    model_of(model_id)
    model = models_published().select_related("replaced_by").get(model_id=model_id)
    return Reply({"status": "success", "data": _described(model), "request_id": call.request_id})


def filters(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    families = set(models_published().order_by().values_list("family", flat=True).distinct())
    data = {
        "features": _in_lists("operations"),
        "families": [family.value for family in Family if family.value in families],
        "providers": _providers(),
        "tags": _in_lists("tags"),
    }
    return Reply({"status": "success", "data": data})


def tags(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    return Reply({"status": "success", "data": _in_lists("tags")})


def providers(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    return Reply({"status": "success", "data": _providers()})


def _in_lists(column: str) -> list[str]:
    """Every entry of that column's lists, once: the database hands over each different list, not each model."""
    lists = models_published().order_by().values_list(column, flat=True).distinct()
    return sorted({entry for entries in lists for entry in entries})


def _providers() -> list[str]:
    return list(models_published().order_by("provider").values_list("provider", flat=True).distinct())


def schedulers(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    names = [*scheduler_names.CLASSIC, *scheduler_names.FLOW, *scheduler_names.SUBSTITUTES]
    return Reply({"status": "success", "schedulers": names})


def system_details(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    body = {"status": "ok", "model_count": models_published().count(), "queue_time": queue_eta_s(queue_length())}
    return Reply(body)


def check(call: Call, route: Route, _id: str) -> Reply:
    """verify_model and model_reload: models load by themselves when they are used, so being listed is being ready."""
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    fields = Fields(call.fields)
    model_id = fields.text("model_id", chars_max=120)
    if not model_id:
        fields.require("model_id")
    fields.check()
    model_of(model_id)
    message = f'The model "{model_id}" is ready; it is loaded when it is used.'
    return Reply({"status": "success", "message": message, "messege": message, "model_id": model_id})
