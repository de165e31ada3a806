"""Lets time pass: runs what the agenda holds, each at the instant it was due, in order."""

from typing import Any

from billing.sandbox.idempotency import KEPT_S
from billing.sandbox.routing import ACTIONS
from billing.sandbox.world import EVENTS_KEPT_S, Obj, World


def _due(world: World, clock: str | None, until: int) -> list[Any] | None:
    """The earliest entry of one time line that is due by an instant."""
    found = [entry for entry in world.state.agenda if entry[4] == clock and entry[0] <= until]
    return min(found, key=lambda entry: (entry[0], entry[1])) if found else None


def _run(world: World, clock: str | None, until: int) -> None:
    while (entry := _due(world, clock, until)) is not None:
        world.state.agenda.remove(entry)
        with world.at(max(entry[0], 0)):
            ACTIONS[entry[2]](world, entry[3])


def pass_time(world: World) -> None:
    """Brings the sandbox up to its present, and finishes test clocks that are advancing."""
    _run(world, None, world.now())
    for clock in world.all("test_helpers.test_clock"):
        _run(world, clock["id"], _advance_target(clock))
        if clock["status"] == "advancing":
            clock.update(frozen_time=_advance_target(clock), status="ready", status_details={})
            world.emit("test_helpers.test_clock.ready", clock)


def forget_old(world: World) -> None:
    """Drops what Stripe would not answer any more: events after 30 days, answers of idempotency keys after one."""
    now, events, answers = world.now(), world.state.objects.get("event", {}), world.state.saved_answers
    for event_id in [event_id for event_id, event in events.items() if now - event["created"] > EVENTS_KEPT_S]:
        del events[event_id]
    for key in [key for key, answer in answers.items() if now - answer["created"] > KEPT_S]:
        del answers[key]


def _advance_target(clock: Obj) -> int:
    advancing = clock["status_details"].get("advancing")
    return int(advancing["target_frozen_time"]) if advancing else int(clock["frozen_time"])
