"""Routes of the API whose work this installation or this product does not do: each says so, and what would help."""

from __future__ import annotations

from gateway.api.authentication import SCOPE_GENERATE
from gateway.api.parsing import Call
from gateway.api.refusals import NotOffered
from gateway.api.route import Reply, Route
from gateway.api.views.callers import authenticate
from inference.errors import CapabilityMissing


def not_offered(call: Call, route: Route, _id: str) -> Reply:
    """Never here. 403."""
    authenticate(call, SCOPE_GENERATE)
    raise NotOffered(what=route.about["what"], instead=route.about["instead"])


def capability_missing(call: Call, route: Route, _id: str) -> Reply:
    """Not on this installation. 503."""
    authenticate(call, SCOPE_GENERATE)
    raise CapabilityMissing(operation=route.about["operation"], needed=route.about["needed"])
