"""The words of the path table: a route, and what its handler gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.api.parsing import Call
from gateway.api.profiles import Profile

GET, POST = "GET", "POST"


@dataclass(frozen=True, slots=True)
class Reply:
    """A body (an object, or a bare list where the API has one), its status and headers."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path of the API; `{id}` at its end stands for any last segment.

    `fetch` is where results of this route are fetched. `about` is what a route that only explains itself would need.
    """

    path: str
    version: str
    handler: Handler
    methods: tuple[str, ...] = (POST,)
    profile: Profile | None = None
    fetch: str = ""
    about: Mapping[str, str] = field(default_factory=dict)


# The call, its route, and the id at the path's end ("" without one).
Handler = Callable[[Call, Route, str], Reply]
