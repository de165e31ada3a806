"""The OpenAPI document, made from the path table and the lists of fields that the API and the playground use.

A route that is not in the table is not in the document, and none of the table is missing from it: a test compares.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from django.conf import settings

from gateway.api.profiles import Profile
from gateway.api.route import Route
from gateway.api.routes import ROUTES
from gateway.api.views import absent, account, generation, jobs, keys, models, pictures, usage
from gateway.site.openapi_parts import (
    ALWAYS_SHOWN,
    CALL_FIELDS,
    COMPONENTS,
    ERROR_REPLIES,
    EXAMPLES,
    KEY_FIELDS,
    PICTURE_FIELDS,
)
from gateway.site.schema import Field, general_fields
from inference.engine.spec import Operation

VERSION = "1"
MAKES = "Make pictures"
RESULTS = "Results"
CATALOGUE = "Catalogue"
ACCOUNT = "Account"
KEYS = "Keys"
FILES = "Pictures and uploads"
NOT_HERE = "Not offered"
OPERATIONS = {
    Operation.TEXT_TO_IMAGE: "Make pictures from a text",
    Operation.IMAGE_TO_IMAGE: "Redraw a picture after a text",
    Operation.INPAINT: "Redraw the white part of a mask",
    Operation.OUTPAINT: "Extend a picture beyond its edges",
    Operation.UPSCALE: "Enlarge a picture",
    Operation.REMOVE_BACKGROUND: "Remove the background",
    Operation.CREATE_MASK: "Make a mask of a named thing",
    Operation.CHECK_SAFETY: "Tell whether a picture is sensitive",
}
DRAWS = frozenset({Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE, Operation.INPAINT, Operation.OUTPAINT})
# Handler -> tag and summary. Generation routes are told apart by their profiles.
HANDLERS: dict[Any, tuple[str, str]] = {
    jobs.fetch: (RESULTS, "Fetch the result of a call. Never counted, never charged"),
    jobs.cancel: (RESULTS, "Cancel a call"),
    jobs.own_list: (RESULTS, "List your calls, newest first"),
    jobs.request_count: (RESULTS, "Count your calls under way"),
    jobs.system_load: (RESULTS, "Look at the length of the queue"),
    models.search: (CATALOGUE, "Search the models"),
    models.one: (CATALOGUE, "Describe one model"),
    models.filters: (CATALOGUE, "List what models can be filtered by"),
    models.tags: (CATALOGUE, "List the tags of models"),
    models.providers: (CATALOGUE, "List the providers of models"),
    models.legacy_list: (CATALOGUE, "List the models as a bare list"),
    models.enterprise_list: (CATALOGUE, "List the models"),
    models.schedulers: (CATALOGUE, "List the schedulers"),
    models.check: (CATALOGUE, "Check that a model is ready"),
    models.system_details: (CATALOGUE, "Count models and waiting calls"),
    account.account: (ACCOUNT, "Read plan, limits, use and funds"),
    usage.usage: (ACCOUNT, "Read your usage by step and group, equal to the ledger"),
    account.wallet_balance: (ACCOUNT, "Read the balance"),
    account.subscribed_products: (ACCOUNT, "Read the plan"),
    keys.key_list: (KEYS, "List the account's keys, without their texts"),
    keys.key_new: (KEYS, "Make a key with limits of its own; the one reply that shows it"),
    keys.key_edit: (KEYS, "Change a key's restrictions; what is left out stays"),
    keys.key_end: (KEYS, "Revoke a key"),
    pictures.base64_to_url: (FILES, "Turn a base64 picture into an address for a day"),
    pictures.base64_crop: (FILES, "Turn a base64 picture into an address, cropped if asked"),
    pictures.delete_image: (FILES, "Delete the pictures of a call"),
    pictures.clear_cache: (FILES, "Accepted for older programs; there is nothing to clear"),
    absent.not_offered: (NOT_HERE, "Not offered: 403 says what to use instead"),
    absent.capability_missing: (NOT_HERE, "Needs a model that this installation may lack: 503 names it"),
}
BODIES: dict[Any, tuple[Field, ...]] = {
    jobs.fetch: (CALL_FIELDS["request_id"],),
    jobs.cancel: (CALL_FIELDS["request_id"],),
    pictures.delete_image: (CALL_FIELDS["request_id"],),
    pictures.base64_to_url: (CALL_FIELDS["base64_string"],),
    pictures.base64_crop: (CALL_FIELDS["base64_string"],),
    models.check: (CALL_FIELDS["model_id"],),
    keys.key_new: KEY_FIELDS,
    keys.key_edit: tuple(replace(field, required=False) for field in KEY_FIELDS if field.name in keys.CHANGEABLE),
}
TAGS = (MAKES, RESULTS, CATALOGUE, ACCOUNT, KEYS, FILES, NOT_HERE)


@functools.cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1. Newest generation of the API first, since that is what a newcomer should use."""
    ordered = sorted(ROUTES, key=_place)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{settings.SITE_NAME} API", "version": VERSION},
        "servers": [{"url": settings.PUBLIC_URL or "/"}],
        "security": [{"bearer": []}, {"header": []}],
        "tags": [{"name": tag} for tag in TAGS],
        "paths": _paths(ordered),
        "components": COMPONENTS,
    }


def _place(route: Route) -> tuple[object, ...]:
    """By tag, newest generation first, and within it what most programs call."""
    return TAGS.index(_tag(route)), -_number(route), route.path != "v7/images/text-to-image", route.path


def _paths(routes: list[Route]) -> dict[str, Any]:
    """Several routes may share a path, each with methods of its own."""
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(f"/api/{route.path}", {}).update(_path(route))
    return paths


def _number(route: Route) -> int:
    """v7 before v6; the enterprise tree, v1, at the end."""
    return int(route.version[1]) if route.version[1:2].isdigit() else 0


def _tag(route: Route) -> str:
    return MAKES if route.handler is generation.generate else HANDLERS[route.handler][0]


def _path(route: Route) -> dict[str, Any]:
    item: dict[str, Any] = {method.lower(): _operation(route, method) for method in route.methods}
    if route.path.endswith("{id}"):
        shown = {"type": "string"}
        item["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": shown}]
    return item


def _operation(route: Route, method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}_{route.path}".replace("/", "_").replace("{id}", "by_id").replace("-", "_"),
        "tags": [_tag(route)],
        "summary": _summary(route),
        "responses": _replies(route),
    }
    if method == "POST" and (fields := fields_of_route(route)):
        content = {"application/json": {"schema": _body(fields), "example": example_of(fields)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _summary(route: Route) -> str:
    if route.profile is not None:
        guided = " with a ControlNet" if route.profile.control_needed else ""
        return OPERATIONS[route.profile.operation] + guided
    return HANDLERS[route.handler][1]


def _replies(route: Route) -> dict[str, Any]:
    if _tag(route) == NOT_HERE:
        status = "403" if route.handler is absent.not_offered else "503"
        return {status: {"$ref": "#/components/responses/Error"}}
    good = "Generation" if route.handler in (generation.generate, jobs.fetch) else "Reply"
    replies: dict[str, Any] = {"200": {"$ref": f"#/components/responses/{good}"}}
    names = ERROR_REPLIES if route.profile is not None else ("401", "404", "429")
    return replies | {name: {"$ref": "#/components/responses/Error"} for name in names}


def fields_of_route(route: Route) -> list[Field]:
    """What a POST to it may hold, where this document describes that."""
    if route.profile is not None:
        return body_fields(route.profile)
    in_path = {"request_id"} if route.path.endswith("{id}") else set()
    return [field for field in BODIES.get(route.handler, ()) if field.name not in in_path]


def example_of(fields: list[Field]) -> dict[str, Any]:
    """What is required, and what most calls say: a body that can be sent as it stands."""
    return {field.name: EXAMPLES[field.name] for field in fields if field.required or field.name in ALWAYS_SHOWN}


def _body(fields: list[Field]) -> dict[str, Any]:
    required = [field.name for field in fields if field.required]
    return {
        "type": "object",
        "properties": {field.name: field.json_schema() for field in fields},
        **({"required": required} if required else {}),
    }


def body_fields(profile: Profile) -> list[Field]:
    """The fields of one kind of generation, the pictures it needs first."""
    found = [PICTURE_FIELDS[name] for names in (profile.init[:1], profile.mask[:1]) for name in names]
    if profile.control_needed:
        found += [PICTURE_FIELDS[name] for name in ("controlnet_model", "init_image", "control_image")]
    if profile.operation in (Operation.IMAGE_TO_IMAGE, Operation.INPAINT):
        found.append(PICTURE_FIELDS["strength"])
    if profile.operation is Operation.UPSCALE:
        found.append(PICTURE_FIELDS["scale"])
    if profile.operation is Operation.CREATE_MASK:
        found.append(PICTURE_FIELDS["specific_object"])
    drawing = profile.operation in DRAWS
    return [
        *found,
        *(field for field in general_fields() if drawing or field.name in ("webhook", "track_id", "base64")),
    ]
