"""Every route that makes a picture: one handler; what differs between them is the route's profile."""

from __future__ import annotations

import time
from dataclasses import replace

from django.conf import settings

from gateway.api.authentication import SCOPE_GENERATE
from gateway.api.deprecation import deprecation_headers
from gateway.api.idempotency import body_digest, generation_replayed, idempotency_key_of
from gateway.api.limits import limit_headers, usage_of
from gateway.api.orders import order_build
from gateway.api.pace import place_and_eta
from gateway.api.parsing import Call
from gateway.api.replies import generation_body
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from gateway.api.waiting import wait
from gateway.ratelimit import Decision, Uncounted, Usage
from gateway.services import generation_place, refusal_recall
from inference.models import Generation


def generate(call: Call, route: Route, _id: str) -> Reply:
    caller = authenticate(call, SCOPE_GENERATE)
    key = idempotency_key_of(call)
    digest = body_digest(route.path, call.fields) if key else ""
    earlier = generation_replayed(account_id=caller.account_id, key=key, digest=digest) if key else None
    if earlier is not None:
        return _answer(call, route, earlier, usage_of(caller, now=call.now))
    refusal_recall(caller=caller, now=call.now)
    assert route.profile is not None, f"{route.path} has no profile"
    order = order_build(
        call, endpoint=route.path, version=route.version, profile=route.profile, caller=caller, body_digest=digest
    )
    placement = generation_place(caller=caller, order=order, idempotency_key=key, now=call.now)
    reply = _answer(call, route, placement.generation, placement.decision, just_placed=placement.created)
    ending = deprecation_headers(order.model, base_url=call.base_url, now=call.now)
    return replace(reply, headers={**reply.headers, **ending}) if ending else reply


def _answer(
    call: Call,
    route: Route,
    generation: Generation,
    numbers: Decision | Usage | Uncounted,
    *,
    just_placed: bool = False,
) -> Reply:
    """Wait for the outcome as long as this call may take, then tell what is known."""
    left_s = settings.WAIT_TIMEOUT_S - (time.monotonic() - call.started_s)
    generation = wait(generation, timeout_s=0 if generation.reply.get("instant_response") else left_s)
    return Reply(
        generation_reply(generation, call, route, just_placed=just_placed),
        headers=limit_headers(numbers, now_epoch_s=int(call.now.timestamp())),
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
