"""What a message says. The body is composed once, before the first attempt, outside of any transaction."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from gateway.models import WebhookDelivery
from inference.models import Generation, GenerationState
from inference.storage import get_storage


def body_compose(delivery: WebhookDelivery) -> str:
    """The JSON of a delivery about a generation."""
    assert delivery.generation_id is not None  # a message about nothing was composed when it was queued
    generation = Generation.objects.get(pk=delivery.generation_id)
    return orjson.dumps(generation_body(generation)).decode()


def generation_body(generation: Generation) -> dict[str, Any]:
    """As the API documents its webhooks: a failed job is called "failed" here, as nowhere else, and has no output."""
    shared = {"id": generation.pk, "track_id": generation.track_id}
    if generation.state == GenerationState.SUCCEEDED:
        return {"status": "success", **shared, **_pictures(generation)}
    text = generation.error_message or "The picture could not be rendered."
    return {"status": "failed", **shared, "message": text, "messege": text, "code": generation.error_code}


def _pictures(generation: Generation) -> dict[str, Any]:
    return {
        "output": [_picture(image["key"], generation.reply) for image in generation.images],
        "generationTime": _seconds(generation),
        "meta": generation.result["used"] if generation.result else {},
    }


def _picture(key: str, reply: dict[str, Any]) -> str:
    storage = get_storage()
    if reply.get("base64"):
        return base64.b64encode(storage.read(key)).decode()
    address = storage.url(key)
    return reply.get("base_url", "") + address if address.startswith("/") else address


def _seconds(generation: Generation) -> float:
    run_ms: int = generation.result["run_ms"] if generation.result else 0
    return run_ms / 1000
