"""The table of routes, internal signals and agenda actions; families enter their functions with decorators.

It decides which function answers, never what the answer is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from billing.sandbox.params import Params
from billing.sandbox.world import Obj, World


@dataclass
class Call:
    """One request as a handler sees it."""

    world: World
    params: Params
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return next(iter(self.ids.values()))


Handler: TypeAlias = Callable[[Call], Obj]
Action: TypeAlias = Callable[[World, str], None]
Listener: TypeAlias = Callable[[World, Obj], None]


@dataclass(frozen=True)
class Route:
    method: str
    template: str
    pattern: re.Pattern[str]
    handler: Handler


ROUTES: list[Route] = []
ACTIONS: dict[str, Action] = {}
LISTENERS: dict[str, list[Listener]] = {}


def route(method: str, template: str) -> Callable[[Handler], Handler]:
    def enter(handler: Handler) -> Handler:
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
        ROUTES.append(Route(method, template, pattern, handler))
        ROUTES.sort(key=lambda found: found.template.count("{"))
        return handler

    return enter


def action(name: str) -> Callable[[Action], Action]:
    """Work that the agenda can name: it runs at its due time and must bear being overtaken by events."""

    def enter(function: Action) -> Action:
        ACTIONS[name] = function
        return function

    return enter


def listens(name: str) -> Callable[[Listener], Listener]:
    """Lets one family react to another's fact without importing it."""

    def enter(function: Listener) -> Listener:
        LISTENERS.setdefault(name, []).append(function)
        return function

    return enter


def signal(world: World, name: str, obj: Obj) -> None:
    for listener in LISTENERS.get(name, []):
        listener(world, obj)


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    for candidate in _candidates(method):
        match = candidate.pattern.fullmatch(path)
        if match:
            return candidate, match.groupdict()
    return None


def _candidates(method: str) -> Iterator[Route]:
    return (candidate for candidate in ROUTES if candidate.method == method)
