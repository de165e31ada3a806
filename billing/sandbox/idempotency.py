"""Stripe's idempotency keys of API v1 (docs.stripe.com/api/idempotent_requests).

The first result of a key is replayed, a 500 included; the same key with other parameters, or on another endpoint, is
an error; a second request while the first one runs is a conflict; keys are forgotten after a day. Refusals that come
before anything was done are not remembered.
"""

import hashlib
import json
import threading
from dataclasses import dataclass
from typing import Any

from billing.sandbox.refusals import Refusal, key_in_use, key_reused
from billing.sandbox.world import Obj, World

KEPT_S = 86_400
KEY_LENGTH_MAX = 255


@dataclass(frozen=True)
class Saved:
    status: int
    body: Obj


def fingerprint(params: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


class Keys:
    """The keys of one sandbox; finished ones live in the world's state, running ones only here."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def begin(self, key: str, endpoint: str, params: dict[str, Any]) -> Saved | None:
        """The saved result of a key, or None: then the caller runs the request and must call finish."""
        if len(key) > KEY_LENGTH_MAX:
            raise Refusal(f"Idempotency keys are at most {KEY_LENGTH_MAX} characters long.", type="idempotency_error")
        with self._lock:
            saved = self._saved(key)
            if saved is not None:
                self._compare(key, saved, endpoint, params)
                return Saved(saved["status"], json.loads(saved["body"]))
            if key in self._running:
                raise key_in_use(key)
            self._running.add(key)
            return None

    def _saved(self, key: str) -> Obj | None:
        found = self._world.state.saved_answers.get(key)
        if found is not None and self._world.now() - found["created"] > KEPT_S:
            del self._world.state.saved_answers[key]
            return None
        return found

    def _compare(self, key: str, saved: Obj, endpoint: str, params: dict[str, Any]) -> None:
        if saved["endpoint"] != endpoint:
            raise key_reused(key, f"for the same endpoint ({saved['endpoint']})")
        if saved["params"] != fingerprint(params):
            raise key_reused(key, "with the same parameters")

    def finish(self, key: str, endpoint: str, params: dict[str, Any], result: Saved | None) -> None:
        """Ends a running key; None forgets it, so that it may be tried again."""
        with self._lock:
            self._running.discard(key)
            if result is not None:
                self._world.state.saved_answers[key] = {
                    "status": result.status,
                    "body": json.dumps(result.body),
                    "endpoint": endpoint,
                    "params": fingerprint(params),
                    "created": self._world.now(),
                }
