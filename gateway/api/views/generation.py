"""Every route that makes a picture: one handler; what differs between them is the route's profile."""

from __future__ import annotations

import time

from django.conf import settings

from gateway.api.authentication import SCOPE_GENERATE
from gateway.api.fields import Fields
from gateway.api.limits import limit_headers
from gateway.api.orders import order_build, raise_faults
from gateway.api.pace import place_and_eta
from gateway.api.parsing import Call
from gateway.api.replies import generation_body
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from gateway.api.waiting import wait
from gateway.services import generation_place
from inference.models import Generation

IDEMPOTENCY_KEY_CHARS_MAX = 255


def generate(call: Call, route: Route, _id: str) -> Reply:
    assert route.profile is not None, f"{route.path} has no profile"
    caller = authenticate(call, SCOPE_GENERATE)
    idempotency_key = idempotency_key_of(call)
    order = order_build(
        call,
        endpoint=route.path,
        version=route.version,
        profile=route.profile,
        caller=caller,
        fingerprint=idempotency_key is not None,
    )
    placement = generation_place(caller=caller, order=order, idempotency_key=idempotency_key, now=call.now)
    left_s = settings.WAIT_TIMEOUT_S - (time.monotonic() - call.started_s)
    generation = wait(placement.generation, timeout_s=0 if order.instant_response else left_s)
    return Reply(
        generation_reply(generation, call, route, just_placed=placement.created),
        headers=limit_headers(placement.decision, now_epoch_s=int(call.now.timestamp())),
    )


def generation_reply(
    generation: Generation, call: Call, route: Route, *, just_placed: bool = False
) -> dict[str, object]:
    queue_position, eta_s = place_and_eta(generation, just_placed=just_placed)
    return generation_body(
        generation,
        base_url=call.base_url,
        fetch_path=route.fetch,
        request_id=call.request_id,
        queue_position=queue_position,
        eta_s=eta_s,
    )


def idempotency_key_of(call: Call) -> str | None:
    fields = Fields({"idempotency_key": call.idempotency_key})
    key = fields.text("idempotency_key", chars_max=IDEMPOTENCY_KEY_CHARS_MAX).strip()
    raise_faults(fields)
    return key or None
