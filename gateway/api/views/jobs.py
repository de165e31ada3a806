"""What becomes of accepted calls: fetch, cancel, the list of one's own, counts. Never counted, never charged."""

from __future__ import annotations

from typing import Any

from gateway.api.authentication import SCOPE_GENERATE, SCOPE_READ
from gateway.api.fields import Fields, as_whole, echo
from gateway.api.pace import queue_eta_s
from gateway.api.parsing import Call
from gateway.api.refusals import AlreadySettled
from gateway.api.replies import cost_of, generation_status, links_of
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from gateway.api.views.generation import generation_reply
from gateway.services import generation_cancel
from inference.errors import GenerationNotFound
from inference.models import Generation, GenerationState
from inference.selectors import generation_of, queue_length, queued_calls

ID_NAMES = ("request_id", "id", "fetch_id", "generation_id")
PAGE_DEFAULT, PAGE_MAX = 20, 100


def fetch(call: Call, route: Route, given_id: str) -> Reply:
    caller = authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    generation = generation_of(account_id=caller.account_id, generation_id=id_of(call, given_id))
    return Reply(generation_reply(generation, call, route))


def cancel(call: Call, route: Route, given_id: str) -> Reply:
    """A cancelled generation costs nothing. Cancelling it twice is no error."""
    caller = authenticate(call, SCOPE_GENERATE)
    generation_id = id_of(call, given_id)
    generation_cancel(account_id=caller.account_id, generation_id=generation_id, now=call.now)
    generation = generation_of(account_id=caller.account_id, generation_id=generation_id)
    if generation.state != GenerationState.CANCELLED:
        raise AlreadySettled(generation_id=generation_id, state=generation.state)
    message = "This generation was cancelled. Nothing was charged."
    body = {"status": "success", "id": generation_id, "message": message, "messege": message, "state": "cancelled"}
    return Reply(body | cost_of(generation) | {"request_id": call.request_id})


def own_list(call: Call, route: Route, _id: str) -> Reply:
    """Newest first. `next_cursor` is given while there are older ones."""
    caller = authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    fields = Fields(call.fields)
    limit = fields.whole("limit", default=PAGE_DEFAULT, low=1, high=PAGE_MAX)
    before = fields.whole("cursor", default=2**63 - 1, low=0, high=2**63 - 1)
    fields.check()
    own = Generation.objects.filter(account_id=caller.account_id, pk__lt=before).order_by("-pk")
    rows = list(own[: limit + 1])
    shown = rows[:limit]
    body = {
        "status": "success",
        "data": [_listed(row, call.base_url) for row in shown],
        "next_cursor": str(shown[-1].pk) if len(rows) > limit else None,
        "request_id": call.request_id,
    }
    return Reply(body)


def _listed(generation: Generation, base_url: str) -> dict[str, Any]:
    return {
        "id": generation.pk,
        "status": generation_status(generation),
        "state": generation.state,
        "model_id": generation.model_id,
        "endpoint": generation.endpoint,
        "prompt": generation.spec["prompt"],
        "track_id": generation.track_id,
        "output": links_of(generation, base_url) if generation.settled else [],
        "created_at": generation.created_at.isoformat(),
        "finished_at": generation.finished_at.isoformat() if generation.finished_at else None,
        "error_code": generation.error_code or None,
        **cost_of(generation),
    }


def request_count(call: Call, route: Route, _id: str) -> Reply:
    caller = authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    return Reply({"status": "success", "processing_count": queued_calls(account_id=caller.account_id)})


def system_load(call: Call, route: Route, _id: str) -> Reply:
    authenticate(call, SCOPE_READ, SCOPE_GENERATE)
    waiting = queue_length()
    return Reply({"status": "ok", "queue_num": waiting, "queue_time": queue_eta_s(waiting)})


def id_of(call: Call, given_id: str) -> int:
    """From the path, else the body. What cannot be an id is an unknown one. Raises GenerationNotFound."""
    fields = Fields(call.fields)
    value = given_id or fields.value(*ID_NAMES)
    if value is None:
        fields.require("request_id")
        raise fields.refusal()
    number = as_whole(value)
    if number is None or not 0 < number < 2**63:
        raise GenerationNotFound(generation_id=echo(value))
    return number
