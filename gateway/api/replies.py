"""The bodies of replies: success, processing, failure, and the same for webhooks. One shape for all generations of the
API; what differs is data on the generation (`reply`).
"""

from __future__ import annotations

import base64
import logging
from datetime import datetime
from typing import Any

from django.conf import settings

from billing.models import MONEY
from billing.money import usd_text
from gateway.api.fields import Fields
from gateway.api.meta import meta_of
from gateway.api.parsing import Call
from gateway.api.profiles import Profile
from inference.engine.spec import Operation
from inference.models import Generation, GenerationState
from inference.storage import FileMissing, get_storage

logger = logging.getLogger(__name__)
TRY_LATER = "Try to fetch the result after the estimated seconds."
TIP = ""


def reply_options(fields: Fields, profile: Profile, call: Call) -> dict[str, Any]:
    """How to answer this call, now and in every later fetch. Only what is not the usual."""
    options: dict[str, Any] = {"base_url": call.base_url}
    if fields.flag("base64", default=False):
        options["base64"] = True
    if fields.flag("temp", default=profile.temp):
        options["temp"] = True
    if fields.flag("instant_response", default=False):
        options["instant_response"] = True
    if profile.single_output:
        options["single"] = True
    return options


def generation_body(
    generation: Generation, *, base_url: str, fetch_path: str, request_id: str, queue_position: int, eta_s: int
) -> dict[str, Any]:
    """The reply to a call or to a fetch, whatever the generation's state. Failed is "error" here (see webhook_body)."""
    if generation.state == GenerationState.SUCCEEDED:
        body = success_body(generation, base_url=base_url)
    elif generation.settled:
        body = failure_body(generation, status="error")
    else:
        body = processing_body(
            generation, base_url=base_url, fetch_path=fetch_path, queue_position=queue_position, eta_s=eta_s
        )
    return body | {"request_id": request_id}


def success_body(generation: Generation, *, base_url: str) -> dict[str, Any]:
    outputs = outputs_of(generation, base_url)
    body = {
        "status": "success",
        "id": generation.pk,
        "generationTime": generation_time_s(generation),
        "output": (outputs[0] if outputs else "") if generation.reply.get("single") else outputs,
        "proxy_links": links_of(generation, base_url),
        "future_links": links_of(generation, base_url),
        "nsfw_content_detected": any(image["flagged"] for image in generation.images),
        "webhook_status": "",
        "tip": TIP,
        "meta": meta_of(generation),
        **cost_of(generation),
    }
    if generation.spec["operation"] == Operation.CHECK_SAFETY:
        body |= {"images": outputs, "has_nsfw_concept": [image["flagged"] for image in generation.images]}
    notes = (generation.result or {}).get("notes")
    return body | {"notes": notes} if notes else body


def processing_body(
    generation: Generation, *, base_url: str, fetch_path: str, queue_position: int, eta_s: int
) -> dict[str, Any]:
    links = links_of(generation, base_url)
    return {
        "status": "processing",
        "id": generation.pk,
        "eta": max(eta_s, 1),
        "message": TRY_LATER,
        "messege": TRY_LATER,
        "fetch_result": f"{base_url}/api/{fetch_path}/{generation.pk}",
        "output": [],
        "future_links": links,
        "proxy_links": links,
        "queue_position": queue_position,
        **progress_of(generation, base_url),
        "webhook_status": "",
        "tip": TIP,
        "meta": meta_of(generation),
        **cost_of(generation),
    }


def progress_of(generation: Generation, base_url: str) -> dict[str, Any]:
    """Steps over all pictures of the call, and the preview's address once there is one; it changes with the step, so
    that each address shows one picture.
    """
    told: dict[str, Any] = {"step": generation.step, "steps": generation.steps}
    preview = generation.spec.get("preview_key")
    if preview and generation.state == GenerationState.RUNNING and _stands(preview):
        told["preview"] = f"{absolute(get_storage().url(preview), base_url)}?step={generation.step}"
    return told


def _stands(key: str) -> bool:
    """A store that is away costs the preview, not the reply."""
    try:
        return get_storage().exists(key)
    except Exception:  # Every store has errors of its own.
        logger.warning("The preview %s could not be looked for.", key, exc_info=True)
        return False


def failure_body(generation: Generation, *, status: str) -> dict[str, Any]:
    """`status` is "error" in replies, which pollers know, and "failed" in webhooks, where a handler refunds on it."""
    message = generation.error_message or "The picture could not be rendered. Nothing was charged."
    return {
        "status": status,
        "id": generation.pk,
        "message": message,
        "messege": message,
        "code": generation.error_code or "render_failed",
        **cost_of(generation),
    }


def webhook_body(generation: Generation) -> dict[str, Any]:
    """What a settled generation's webhook says."""
    base_url = generation.reply.get("base_url") or settings.PUBLIC_URL
    if generation.state == GenerationState.SUCCEEDED:
        body = success_body(generation, base_url=base_url)
    else:
        body = failure_body(generation, status="failed")
    return body | {"track_id": generation.track_id}


def generation_status(generation: Generation) -> str:
    """The API's three words for five states."""
    if generation.state == GenerationState.SUCCEEDED:
        return "success"
    return "error" if generation.settled else "processing"


def cost_of(generation: Generation) -> dict[str, Any]:
    """What this call was charged; while it is under way, what is held for it."""
    if generation.settled:
        amount_microusd = generation.charged_microusd
    else:
        held = generation.funding in MONEY
        amount_microusd = generation.unit_price_microusd * generation.images_requested if held else 0
    return {"cost": usd_text(amount_microusd, places=4), "cost_microusd": amount_microusd}


def generation_time_s(generation: Generation) -> float:
    run_ms = (generation.result or {}).get("run_ms")
    if run_ms:
        return float(run_ms) / 1000
    return seconds_between(generation.started_at or generation.created_at, generation.finished_at)


def seconds_between(start: datetime, end: datetime | None) -> float:
    return round((end - start).total_seconds(), 3) if end else 0.0


def links_of(generation: Generation, base_url: str) -> list[str]:
    """Where the pictures stand, or will stand: delivered ones when it is settled, promised ones before."""
    if generation.settled:
        keys = [image["key"] for image in sorted(generation.images, key=lambda image: image["index"])]
    else:
        keys = generation.spec["output_keys"]
    storage = get_storage()
    return [absolute(storage.url(key), base_url) for key in keys]


def outputs_of(generation: Generation, base_url: str) -> list[str]:
    """Addresses; or base64 texts, or the addresses of such texts, where the call asked for base64."""
    if not generation.reply.get("base64"):
        return links_of(generation, base_url)
    keys = [image["key"] for image in sorted(generation.images, key=lambda image: image["index"])]
    if settings.BASE64_OUTPUT == "url":
        return [absolute(get_storage().url(base64_text(key)), base_url) for key in keys]
    return [packed for key in keys if (packed := base64_of(key)) is not None]


def base64_of(key: str) -> str | None:
    """None when the picture has been deleted or its temporary link has died."""
    try:
        return base64.b64encode(get_storage().read(key)).decode()
    except FileMissing:
        return None


def base64_text(key: str) -> str:
    """The key of the text beside the picture, written when it is first asked for."""
    text_key = key.rpartition(".")[0] + ".txt"
    storage = get_storage()
    if not storage.exists(text_key) and (packed := base64_of(key)) is not None:
        storage.write(text_key, packed.encode(), "text/plain; charset=utf-8")
    return text_key


def absolute(url: str, base_url: str) -> str:
    return url if "://" in url[:8] else f"{base_url}{url}"
