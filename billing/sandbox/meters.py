"""Billing meters: events of usage, their cancellation, and the summaries that lag behind them.

Limits: docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api. Timestamps lie at most 35 days back and
5 minutes ahead; an identifier is unique for at least 24 hours; an adjustment cancels an event of the last 24 hours.
"""

from billing.sandbox.lists import matching, page
from billing.sandbox.periods import DAY_S, HOUR_S
from billing.sandbox.refusals import Refusal, parameter_invalid
from billing.sandbox.routing import Call, action, route
from billing.sandbox.world import Obj, World

PAST_S_MAX = 35 * DAY_S
AHEAD_S_MAX = 300
IDENTIFIER_S = DAY_S
WINDOWS_S = {"hour": HOUR_S, "day": DAY_S}


@route("POST", "/v1/billing/meters")
def meter_create(call: Call) -> Obj:
    world, params = call.world, call.params
    name, now = params.get("event_name"), world.now()
    if any(meter["event_name"] == name and meter["status"] == "active" for meter in world.all("billing.meter")):
        raise parameter_invalid("event_name", f"An active meter already exists for the event name {name}.")
    meter = world.new(
        "billing.meter",
        id=world.new_id("mtr"),
        created=now,
        customer_mapping=params.plain("customer_mapping")
        or {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        default_aggregation=params.plain("default_aggregation"),
        display_name=params.get("display_name"),
        event_name=name,
        event_time_window=params.get("event_time_window"),
        updated=now,
        value_settings=params.plain("value_settings") or {"event_payload_key": "value"},
    )
    world.emit("billing.meter.created", meter)
    return meter


@route("GET", "/v1/billing/meters/{id}")
def meter_retrieve(call: Call) -> Obj:
    return call.world.get("billing.meter", call.id)


@route("GET", "/v1/billing/meters")
def meter_list(call: Call) -> Obj:
    return page(call, "/v1/billing/meters", matching(call, call.world.all("billing.meter"), "status"))


@route("POST", "/v1/billing/meters/{id}/deactivate")
def meter_deactivate(call: Call) -> Obj:
    meter, now = call.world.get("billing.meter", call.id), call.world.now()
    meter.update(status="inactive", status_transitions={"deactivated_at": now}, updated=now)
    call.world.emit("billing.meter.deactivated", meter)
    return meter


def _meter(world: World, event_name: str) -> Obj | None:
    return next(
        (
            meter
            for meter in world.all("billing.meter")
            if meter["event_name"] == event_name and meter["status"] == "active"
        ),
        None,
    )


def _known(world: World, identifier: str, now: int) -> Obj | None:
    """The event that holds an identifier. After its window the identifier is free again and would count twice."""
    found = world.find("billing.meter_event", world.hide("meter_identifiers").get(identifier))
    return found if found and now - found["created"] < IDENTIFIER_S else None


@route("POST", "/v1/billing/meter_events")
def meter_event_create(call: Call) -> Obj:
    """Takes the event; whether meter, customer and value make sense is found out later, and told elsewhere."""
    world, params = call.world, call.params
    payload, now = params.plain("payload"), world.now()
    timestamp = params.get("timestamp", now)
    if timestamp < now - PAST_S_MAX:
        raise parameter_invalid(
            "timestamp", "The timestamp must be within the past 35 days.", "timestamp_too_far_in_past"
        )
    if timestamp > now + AHEAD_S_MAX:
        raise parameter_invalid(
            "timestamp", "The timestamp must not be more than 5 minutes in the future.", "timestamp_in_future"
        )
    identifier = params.get("identifier") or world.new_id("identifier")
    if _known(world, identifier, now):
        raise parameter_invalid(
            "identifier", f"An event already exists with identifier {identifier}.", "duplicate_meter_event"
        )
    event = world.new(
        "billing.meter_event",
        id=world.new_id("mtrevt"),
        created=now,
        event_name=params.get("event_name"),
        identifier=identifier,
        payload=payload,
        timestamp=timestamp,
    )
    world.hide("meter_identifiers")[identifier] = event["id"]
    world.plan(now + world.rules.meter_lag_s, "meter.process", event["id"])
    return {name: value for name, value in event.items() if name != "id"}


@action("meter.process")
def process_when_due(world: World, event_id: str) -> None:
    """Counts an event, or notes why it cannot be counted. Stripe tells such faults by thin events only."""
    event = world.get("billing.meter_event", event_id)
    meter, facts = _meter(world, event["event_name"]), world.hide(event_id)
    if meter is None:
        facts["error"] = "no_meter"
        return
    customer = event["payload"].get(meter["customer_mapping"]["event_payload_key"])
    value = event["payload"].get(
        meter["value_settings"]["event_payload_key"], "1" if meter["default_aggregation"]["formula"] == "count" else ""
    )
    if customer is None or world.find("customer", customer) is None:
        facts["error"] = "meter_event_customer_not_found"
    elif not value.isdigit():
        facts["error"] = "meter_event_invalid_value"
    else:
        facts.update(meter=meter["id"], customer=customer, value=int(value))


@route("POST", "/v1/billing/meter_event_adjustments")
def meter_event_adjustment_create(call: Call) -> Obj:
    world, params = call.world, call.params
    identifier = params.group("cancel").get("identifier")
    event = _known(world, identifier, world.now())
    if event is None or event["event_name"] != params.get("event_name"):
        raise Refusal(
            f"No event of the last 24 hours has the identifier {identifier}.",
            param="cancel[identifier]",
            code="resource_missing",
        )
    world.hide(event["id"])["canceled"] = True
    adjustment = world.new(
        "billing.meter_event_adjustment",
        id=world.new_id("mtradj"),
        cancel={"identifier": identifier},
        event_name=event["event_name"],
        status="complete",
        type=params.get("type"),
    )
    return {name: value for name, value in adjustment.items() if name != "id"}


def _counted(world: World, meter: str, customer: str, start: int, end: int) -> list[tuple[int, int]]:
    """(timestamp, value) of the events that count."""
    found = []
    for event in world.all("billing.meter_event"):
        facts = world.hide(event["id"])
        if (
            facts.get("meter") == meter
            and facts["customer"] == customer
            and start <= event["timestamp"] < end
            and not facts.get("canceled")
        ):
            found.append((event["timestamp"], facts["value"]))
    return found


def _aggregate(formula: str, values: list[tuple[int, int]]) -> int:
    if formula == "count":
        return len(values)
    return max(values)[1] if formula == "last" and values else sum(value for _, value in values)


def used(world: World, meter_id: str, customer: str, start: int, end: int) -> int:
    formula = world.get("billing.meter", meter_id)["default_aggregation"]["formula"]
    return _aggregate(formula, _counted(world, meter_id, customer, start, end))


@route("GET", "/v1/billing/meters/{id}/event_summaries")
def summary_list(call: Call) -> Obj:
    world, params = call.world, call.params
    meter = world.get("billing.meter", call.id)
    customer, start, end = params.get("customer"), params.get("start_time"), params.get("end_time")
    if start % 60 or end % 60:
        raise parameter_invalid("start_time", "start_time and end_time must be aligned with minute boundaries.")
    step = WINDOWS_S.get(params.get("value_grouping_window", ""), max(end - start, 1))
    summaries = [_summary(world, meter, customer, begin, min(begin + step, end)) for begin in range(start, end, step)]
    return page(call, f"/v1/billing/meters/{meter['id']}/event_summaries", summaries)


def _summary(world: World, meter: Obj, customer: str, start: int, end: int) -> Obj:
    return {
        "id": f"mtrusg_{meter['id'][4:12]}_{start}_{end}",
        "object": "billing.meter_event_summary",
        "aggregated_value": float(used(world, meter["id"], customer, start, end)),
        "end_time": end,
        "livemode": world.rules.livemode,
        "meter": meter["id"],
        "start_time": start,
    }


def faulty_events(world: World) -> list[Obj]:
    """Events that were taken but cannot be counted, each with its reason."""
    return [
        {**event, "error": world.hide(event["id"])["error"]}
        for event in world.all("billing.meter_event")
        if "error" in world.hide(event["id"])
    ]
