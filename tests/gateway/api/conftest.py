"""Speaking to the API as a client does, with a renderer that needs no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from gateway import ratelimit
from gateway.api.views import generation as generation_view
from gateway.services import generation_settle
from inference.models import Generation
from inference.storage import get_storage
from tests.support.orders import delivered

PNG = bytes.fromhex("89504e470d0a1a0a")


@dataclass
class Api:
    """Posts JSON under /api/ with a key in the body; `last` is the last response, for its status and headers."""

    client: Client
    key: str | None
    last: HttpResponse | None = field(default=None)

    def post(self, path: str, **fields: Any) -> Any:
        body = fields if self.key is None else {"key": self.key} | fields
        return self.send(path, orjson.dumps(body), content_type="application/json")

    def send(self, path: str, body: bytes, *, content_type: str = "application/json", **extra: Any) -> Any:
        return self._answer(self.client.post(f"/api/{path}", body, content_type=content_type, **extra))

    def get(self, path: str, **extra: Any) -> Any:
        headers = {} if self.key is None else {"HTTP_KEY": self.key}
        return self._answer(self.client.get(f"/api/{path}", **headers | extra))

    def _answer(self, response: Any) -> Any:
        self.last = response
        assert response.headers["Content-Type"] == "application/json", response.content[:300]
        assert response.headers["Content-Length"] == str(len(response.content))
        return orjson.loads(response.content)

    @property
    def status(self) -> int:
        assert self.last is not None
        return self.last.status_code


@pytest.fixture
def api_of(client: Client) -> Callable[[Any], Api]:
    """An API client for a member of the cast."""
    return lambda member: Api(client, member.key if member else None)


@pytest.fixture
def api(alice: Any, api_of: Callable[[Any], Api]) -> Api:
    """Alice's."""
    return api_of(alice)


@pytest.fixture(autouse=True)
def _no_address_is_blocked() -> None:
    """Wrong keys of an earlier test are not held against this one."""
    ratelimit._guard.cache_clear()


@pytest.fixture(autouse=True)
def _no_waiting(settings: Any, tmp_path: Any, monkeypatch: Any) -> None:
    """Nothing renders unless a test says so: waiting would only take time. Pictures stay in the test's folder."""
    settings.WAIT_TIMEOUT_S = 0.0
    monkeypatch.setenv("STORAGE_URL", f"file://{tmp_path}/media")


def opened(client: Client, url: str) -> tuple[HttpResponse, bytes]:
    """A picture's response and its bytes, read to the end as a browser does."""
    response: Any = client.get(url)
    return response, b"".join(response.streaming_content)


def render(generation: Generation, **report: Any) -> None:
    """Deliver what the generation promised, as a render worker does: files first, then the report."""
    for key in generation.spec["output_keys"]:
        get_storage().write(key, PNG + key.encode(), "image/png")
    generation_settle(generation_id=generation.pk, result=delivered(generation, **report), now=timezone.now())


@pytest.fixture
def instant(monkeypatch: Any) -> None:
    """Every call is rendered while it waits."""

    def wait(generation: Generation, *, timeout_s: float) -> Generation:
        if not generation.settled and timeout_s != 0:
            render(generation)
        return Generation.objects.get(pk=generation.pk)

    monkeypatch.setattr(generation_view, "wait", wait)


@pytest.fixture
def only_generation() -> Callable[[], Generation]:
    return Generation.objects.get
