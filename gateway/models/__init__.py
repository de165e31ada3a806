"""The edge's own rows: idempotency keys, who runs the dispatcher, webhooks on their way out."""

from gateway.models.idempotency import IdempotencyRecord
from gateway.models.leadership import Leadership

__all__ = ["IdempotencyRecord", "Leadership"]
