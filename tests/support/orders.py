"""Orders as the API's edge would build them, and the reports of a render worker that needs no weights."""

from __future__ import annotations

import hashlib
import uuid
from types import SimpleNamespace
from typing import Any

from django.utils import timezone

from gateway.api.authentication import Caller, caller_authenticate
from gateway.services import Placement, generation_place
from inference.engine.spec import ModelRef, Operation, RenderedImage, RenderResult, RenderSpec
from inference.selectors import model_find

ADDRESS = "203.0.113.9"


def caller_of(member: Any) -> Caller:
    return caller_authenticate(key=member.key, address=ADDRESS, now=timezone.now())


def order(*, samples: int = 1, model_id: str = "demo", prompt: str = "a red circle", **changes: Any) -> Any:
    model = model_find(model_id)
    token = uuid.uuid4().hex
    spec = RenderSpec(
        token=token,
        account="1",
        operation=Operation.TEXT_TO_IMAGE,
        model=ModelRef(model_id=model.model_id, family=model.family, source=model.source),
        prompt=prompt,
        width_px=64,
        height_px=64,
        num_inference_steps=2,
        samples=samples,
        output_keys=tuple(f"generations/{token}-{index}.png" for index in range(samples)),
    )
    fields = {
        "endpoint": "v6/images/text2img",
        "api_version": "v6",
        "model": model,
        "spec": spec,
        "reply": {},
        "webhook_url": None,
        "track_id": None,
        "asked": {"prompt": prompt},
        "body_digest": hashlib.sha256(f"{prompt}{samples}".encode()).hexdigest(),
        "received_at": timezone.now(),
    }
    return SimpleNamespace(**fields | changes)


def place(member: Any, *, idempotency_key: str | None = None, **changes: Any) -> Placement:
    return generation_place(
        caller=caller_of(member), order=order(**changes), idempotency_key=idempotency_key, now=timezone.now()
    )


def delivered(generation: Any, images: int | None = None, *, attempt: int = 1, flagged: int = 0) -> RenderResult:
    count = generation.images_requested if images is None else images
    return RenderResult(
        token=generation.token,
        attempt=attempt,
        images=tuple(
            RenderedImage(
                index=index,
                key=generation.spec["output_keys"][index],
                seed=index,
                width_px=64,
                height_px=64,
                bytes=100,
                sha256="0" * 64,
                flagged=index < flagged,
            )
            for index in range(count)
        ),
        run_ms=1200,
        gpu_time_ms=900,
        wait_ms=30,
    )


def failed(generation: Any, *, attempt: int = 1, retryable: bool = False) -> RenderResult:
    return RenderResult(
        token=generation.token,
        attempt=attempt,
        error_code="out_of_memory",
        error_message="Too little memory.",
        retryable=retryable,
    )
