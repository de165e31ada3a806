"""A call that is repeated under its idempotency key finds its job before anything is read, fetched or counted again.

Two calls at the same moment both find nothing here; admission's unique record decides between them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from gateway.api.fields import Fields
from gateway.api.parsing import Call
from gateway.errors import IdempotencyConflict
from gateway.models import IdempotencyRecord
from inference.models import Generation
from inference.selectors import generation_of

KEY_CHARS_MAX = 255


def idempotency_key_of(call: Call) -> str | None:
    """Raises InvalidRequest for a key that is no short text."""
    fields = Fields({"idempotency_key": call.idempotency_key})
    key = fields.text("idempotency_key", chars_max=KEY_CHARS_MAX).strip()
    fields.check()
    return key or None


def body_digest(endpoint: str, fields: dict[str, Any]) -> str:
    """Of the request as it was meant: the order of its fields makes no difference."""
    plain = {
        name: hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value for name, value in fields.items()
    }
    return hashlib.sha256(orjson.dumps([endpoint, plain], option=orjson.OPT_SORT_KEYS)).hexdigest()


def generation_replayed(*, account_id: int, key: str, digest: str) -> Generation | None:
    """The generation that this key and body stand for. Raises IdempotencyConflict for another body."""
    record = IdempotencyRecord.objects.filter(account_id=account_id, key=key).first()
    if record is None:
        return None
    if record.body_digest != digest:
        raise IdempotencyConflict(key=key)
    return generation_of(account_id=account_id, generation_id=record.generation_id)
