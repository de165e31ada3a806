"""The service as the benchmarks need it: on PostgreSQL and Redis of its own, with accounts of every kind."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import PostgresServer, RedisServer, running
from tests.support.service import Service

CALL = "/api/v6/images/text2img"
MANY = 64
# Limits out of the way: the benchmarks measure what a call costs, not when it is refused.
FREE_OF_LIMITS = {"calls_per_minute": 10_000_000, "queued_calls": 10_000_000, "free_calls_per_day": 0}
_MAKE_ACCOUNTS = """
import json
from django.utils import timezone
from accounts.models import User
from billing.models import Wallet
from billing.services import funds_grant
from gateway.services import account_open
keys = {{}}
free = {free!r}
kinds = (("refused", "free", {{"calls_per_minute": 0}}), ("unmetered", "premium", free), ("metered", "payg", free))
for kind, plan, overrides in kinds:
    for number in range({many}):
        now = timezone.now()
        user = User(email=f"{{kind}}{{number}}@example.org")
        user.set_unusable_password()
        user.save()
        account, key = account_open(owner=user, now=now, plan_code=plan)
        if kind == "metered":
            funds_grant(account_id=account.pk, amount_microusd=10**12, op_key=str(account.pk), now=now, reason="bench")
        Wallet.objects.filter(pk=account.pk).update(overrides=overrides)
        keys.setdefault(kind, []).append(key.text)
print("KEYS=" + json.dumps(keys))
"""


@dataclass(frozen=True, slots=True)
class Stage:
    service: Service
    postgres: PostgresServer
    keys: dict[str, list[str]]
    work: Path

    @property
    def web_pid(self) -> int:
        return self.service.processes["web"].pid

    def start_web(self) -> None:
        """Returns when it answers. Raises TimeoutError."""
        self.service.start("web")
        self.service.wait_live()

    def bodies(self, kind: str, *, accounts: int = MANY, **fields: object) -> list[str]:
        """The same call from each of the first `accounts` accounts of a kind."""
        call: dict[str, object] = {
            "model_id": "demo",
            "prompt": "a red circle on a blue background",
            "width": "256",
            "height": "256",
        }
        call |= {"samples": "1", "num_inference_steps": "20", "instant_response": "yes", **fields}
        return [json.dumps(call | {"key": key}) for key in self.keys[kind][:accounts]]


@contextlib.contextmanager
def stage(*, env: dict[str, str] | None = None) -> Iterator[Stage]:
    """A prepared service, nothing of it started."""
    with tempfile.TemporaryDirectory() as folder, running(PostgresServer) as postgres, running(RedisServer) as redis:
        settings = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "ROOT_URLCONF": "benchmarks.urls",
            "WEB_PROCESSES": "2",
            **(env or {}),
        }
        service = Service(Path(folder), env=settings)
        service.prepare()
        made = service.manage("shell", "-c", _MAKE_ACCOUNTS.format(free=FREE_OF_LIMITS, many=MANY))
        keys = json.loads(made.stdout.partition("KEYS=")[2].splitlines()[0])
        redis.forget_all()
        try:
            yield Stage(service, postgres, keys, Path(folder))
        finally:
            service.stop()
