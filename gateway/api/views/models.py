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
from inference.selectors import models_published, queue_length

PAGE_DEFAULT, PAGE_MAX = 20, 100
SEARCH_CHARS_MAX = 100


def legacy_list(call: Call, route: Route, _id: str) -> Reply:
    """v3 and v4: a bare list."""
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    return Reply([_legacy(model) for model in models_published()])


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
    models = [{"model_id": model.model_id, "load_data": _legacy(model)} for model in models_published()]
    return Reply({"status": "success", "models": models})


def search(call: Call, route: Route, _id: str) -> Reply:
    """Filters: search (or q, keywords), feature, family, provider, tag. Pages: page, limit."""
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    fields = Fields(call.fields)
    page = fields.whole("page", default=1, low=1, high=1_000_000)
    limit = fields.whole("limit", "per_page", default=PAGE_DEFAULT, low=1, high=PAGE_MAX)
    found = _found(fields)
    fields.check()
    shown = found[(page - 1) * limit : page * limit]
    body = {
        "status": "success",
        "data": [_described(model) for model in shown],
        "page": page,
        "limit": limit,
        "total": len(found),
        "pages": -(-len(found) // limit),
        "request_id": call.request_id,
    }
    return Reply(body)


def _found(fields: Fields) -> list[ImageModel]:
    models: QuerySet[ImageModel] = models_published()
    if text := fields.text("search", "q", "query", "keywords", chars_max=SEARCH_CHARS_MAX):
        models = models.filter(Q(model_id__icontains=text) | Q(name__icontains=text) | Q(description__icontains=text))
    if family := fields.text("family", "model_category", "category", chars_max=40):
        models = models.filter(family=family)
    if provider := fields.text("provider", chars_max=60):
        models = models.filter(provider=provider)
    feature = fields.text("feature", "operation", chars_max=40)
    tag = fields.text("tag", "tags", chars_max=60)
    # Lists inside JSON: a catalogue is small, and both databases then agree.
    return [
        model for model in models if (not feature or feature in model.operations) and (not tag or tag in model.tags)
    ]


def _described(model: ImageModel) -> dict[str, Any]:
    return _legacy(model) | {
        "id": model.model_id,
        "name": model.name,
        "provider": model.provider,
        "family": model.family,
        "features": model.operations,
        "tags": model.tags,
        "licence": model.licence,
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
    model = models_published().get(model_id=model_id)
    return Reply({"status": "success", "data": _described(model), "request_id": call.request_id})


def filters(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    models = list(models_published())
    features = sorted({feature for model in models for feature in model.operations})
    families = [family.value for family in Family if any(model.family == family.value for model in models)]
    data = {"features": features, "families": families, "providers": _providers(models), "tags": _tags(models)}
    return Reply({"status": "success", "data": data})


def tags(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    return Reply({"status": "success", "data": _tags(list(models_published()))})


def providers(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    return Reply({"status": "success", "data": _providers(list(models_published()))})


def _tags(models: list[ImageModel]) -> list[str]:
    return sorted({tag for model in models for tag in model.tags})


def _providers(models: list[ImageModel]) -> list[str]:
    return sorted({model.provider for model in models})


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
