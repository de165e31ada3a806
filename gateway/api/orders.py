"""What the edge asks of the house: one accepted request, typed and complete, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inference.engine.spec import RenderSpec
from inference.selectors import CatalogueModel


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOrder:
    """A request that is right in itself; whether it may be served is for admission to say.

    `asked` is the request as it came, without its key and its pictures. `reply` says how to answer, now and in every
    later fetch: base64, temp, single (one string instead of a list), base_url, adjusted. `body_digest` is "" when the
    call has no idempotency key.
    """

    endpoint: str
    api_version: str
    model: CatalogueModel
    spec: RenderSpec
    reply: dict[str, Any]
    instant_response: bool
    webhook_url: str | None
    track_id: str | int | float | None
    asked: dict[str, Any]
    body_digest: str
    received_at: datetime
