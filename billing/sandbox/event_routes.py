"""Reading events back: the last 30 days, newest first, filtered by type, time and delivery."""

from fnmatch import fnmatchcase

from billing.sandbox.lists import matching, page
from billing.sandbox.refusals import parameter_invalid, resource_missing
from billing.sandbox.routing import Call, route
from billing.sandbox.world import EVENTS_KEPT_S, Obj

TYPES_MAX = 20


def _kept(call: Call) -> list[Obj]:
    oldest = call.world.now() - EVENTS_KEPT_S
    return [event for event in call.world.all("event") if event["created"] >= oldest]


@route("GET", "/v1/events")
def event_list(call: Call) -> Obj:
    found = matching(call, _kept(call), "created")
    types = call.params.plain("types")
    if "type" in call.params:
        if types is not None:
            raise parameter_invalid("type", "You may pass either type or types, but not both.")
        pattern = call.params.get("type")
        found = [event for event in found if fnmatchcase(event["type"], pattern)]
    if types is not None:
        if len(types) > TYPES_MAX:
            raise parameter_invalid("types", f"You may pass up to {TYPES_MAX} types.")
        found = [event for event in found if event["type"] in types]
    if "delivery_success" in call.params:
        delivered = call.params.get("delivery_success")
        found = [event for event in found if (event["pending_webhooks"] == 0) == delivered]
    return page(call, "/v1/events", found)


@route("GET", "/v1/events/{id}")
def event_retrieve(call: Call) -> Obj:
    event = call.world.get("event", call.id)
    if event not in _kept(call):
        raise resource_missing("event", call.id, "id")
    return event


@route("GET", "/v1/setup_intents/{intent}")
def setup_intent_retrieve(call: Call) -> Obj:
    return call.world.get("setup_intent", call.id)
