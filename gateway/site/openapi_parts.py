"""The fixed parts of the OpenAPI document: fields that pictures bring along, replies, ways to send the key."""

from __future__ import annotations

from typing import Any

from gateway.site.schema import Field

_PICTURE = "An address, a base64 text, or a data URI."
PICTURE_FIELDS: dict[str, Field] = {
    "init_image": Field("init_image", "Picture", "picture", _PICTURE, required=True),
    "image": Field("image", "Picture", "picture", _PICTURE, required=True),
    "url": Field("url", "Picture", "picture", _PICTURE, required=True),
    "mask_image": Field("mask_image", "Mask", "picture", f"White is redrawn. {_PICTURE}", required=True),
    "control_image": Field("control_image", "Hint", "picture", f"A ready hint. {_PICTURE}"),
    "controlnet_model": Field(
        "controlnet_model", "ControlNet", "text", "canny, depth, openpose, ...; several by commas.", required=True
    ),
    "strength": Field("strength", "Strength", "number", "How far to depart from the picture.", 0.7, 0, 1),
    "scale": Field("scale", "Scale", "integer", "The side of the result over the side of the picture.", 3, 1, 4),
    "specific_object": Field("specific_object", "Thing", "text", "What the mask covers.", required=True),
}
CALL_FIELDS: dict[str, Field] = {
    "request_id": Field("request_id", "Call", "text", "The id of the call, as its reply told it.", required=True),
    "base64_string": Field("base64_string", "Picture", "text", "The picture as base64 or a data URI.", required=True),
    "model_id": Field("model_id", "Model", "text", "The model's id.", required=True),
}
# A value for every field that some operation requires, and the fields that examples show besides.
EXAMPLES: dict[str, Any] = {
    "model_id": "demo",
    "prompt": "a red circle on a blue background",
    "init_image": "https://example.com/picture.png",
    "image": "https://example.com/picture.png",
    "url": "https://example.com/picture.png",
    "mask_image": "https://example.com/mask.png",
    "controlnet_model": "canny",
    "specific_object": "circle",
    "request_id": "ID",
    "base64_string": "iVBORw0KGgo...",
    "name": "user 4711",
    "scopes": ["generate"],
    "calls_per_day": 50,
}
ALWAYS_SHOWN = frozenset({"prompt", "scopes", "calls_per_day"})
_LIST = "A list, or texts between commas; empty: any."
KEY_FIELDS = (
    Field("name", "Name", "text", "Where the key is used.", required=True),
    Field("scopes", "Scopes", "text", "generate, read, billing; a list or between commas. Empty: all of these."),
    Field("models", "Models", "text", f"Model ids. {_LIST}"),
    Field("networks", "Networks", "text", f"Addresses and networks that may use it. {_LIST}"),
    Field(
        "origins", "Web pages", "text", f"Origins of pages that may use it from a browser; then nothing else. {_LIST}"
    ),
    Field("calls_per_minute", "Calls a minute", "integer", "Empty: as the account.", low=1, high=100_000),
    Field("calls_per_day", "Calls a day", "integer", "Accepted calls in a UTC day.", low=1, high=100_000_000),
    Field("queued_calls", "Queued calls", "integer", "Empty: as the account.", low=1, high=1_000),
    Field("budget_usd", "Budget", "text", "US dollars of funds in a UTC month, as 25.50: calls beyond are refused."),
    Field("warn_usd", "Mail at", "text", "US dollars of funds in a UTC month at which owners get a mail."),
    Field("expires_in_days", "Expires", "integer", "Days from now; empty: never.", low=1, high=3650),
    Field(
        "environment", "Environment", "choice", "A mark in the key's text.", default="live", choices=("live", "test")
    ),
)
ERROR_REPLIES = ("400", "401", "402", "403", "404", "409", "413", "429", "503")

_LINKS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_GENERATION: dict[str, Any] = {
    "type": "object",
    "required": ["status", "id"],
    "properties": {
        "status": {"type": "string", "enum": ["success", "processing", "error"]},
        "id": {"type": "integer", "format": "int64"},
        "output": _LINKS | {"description": "Addresses of the pictures, or base64 texts where the call asked for them."},
        "future_links": _LINKS | {"description": "Where the pictures will stand; 404 until then."},
        "generationTime": {"type": "number", "description": "Seconds."},
        "eta": {"type": "integer", "minimum": 1, "description": "Seconds until it is worth fetching."},
        "queue_position": {"type": "integer"},
        "step": {"type": "integer", "description": "Steps done, over all pictures of the call."},
        "steps": {"type": "integer", "description": "Steps in all."},
        "preview": {"type": "string", "format": "uri", "description": "A small picture of what is becoming."},
        "fetch_result": {"type": "string", "format": "uri"},
        "nsfw_content_detected": {"type": "boolean"},
        "meta": {"type": "object", "description": "What was used, truthfully, in both spellings."},
        "cost": {"type": "string", "description": "US dollars, as a decimal text."},
        "cost_microusd": {"type": "integer", "format": "int64"},
        "message": {"type": "string"},
        "messege": {"type": "string", "description": "Equal to message."},
        "request_id": {"type": "string"},
    },
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["status", "code", "message", "messege", "request_id"],
    "properties": {
        "status": {"const": "error"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "messege": {"type": "string", "description": "Equal to message."},
        "retry_after": {"type": "integer", "description": "Seconds."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Every fault of the request."},
        "request_id": {"type": "string"},
    },
}


def _reply(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


COMPONENTS: dict[str, Any] = {
    "securitySchemes": {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    },
    "schemas": {"Generation": _GENERATION, "Error": _ERROR},
    "responses": {
        "Generation": _reply("The pictures, or where to fetch them.", {"$ref": "#/components/schemas/Generation"}),
        "Reply": _reply("What was asked for.", {}),
        "Error": _reply("Refused, with a code to branch on.", {"$ref": "#/components/schemas/Error"}),
    },
}
