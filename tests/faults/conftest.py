"""A whole service on a PostgreSQL and a Redis of its own that survive kills, and the judgement after each round."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import redis

from tests.support.clients import Crowd
from tests.support.servers import PostgresServer, RedisServer, running
from tests.support.service import Service

FUNDS_MICROUSD = 10**9
PRICE_MICROUSD = 2_000
SETTLED_TIMEOUT_S = 90.0
# No call of these tests is free: every picture must be found in the ledger.
OVERRIDES = {"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": 0}


@dataclass
class Scene:
    """The service under test with its servers, and what may befall it."""

    service: Service
    postgres: PostgresServer
    redis: RedisServer
    key: str

    def rows(self, sql: str) -> list[tuple]:
        with psycopg.connect(self.postgres.url) as connection:
            return connection.execute(sql).fetchall()

    def kill_and_restart(self, name: str) -> None:
        self.service.kill(name)
        self.service.start(name)

    def stop_and_restart(self, name: str) -> None:
        self.service.stop(name)
        self.service.start(name)

    def flush_redis(self) -> None:
        """Limits, wake-ups and every message of the broker are gone."""
        with contextlib.suppress(redis.RedisError):
            redis.Redis.from_url(self.redis.url).flushall()

    def crash_redis(self) -> None:
        self.redis.kill()
        time.sleep(0.5)
        self.redis.start()

    def crash_postgres(self) -> None:
        self.postgres.kill()
        self.postgres.start()

    def round(self, seed: int, faults: list[Callable[[], None]], *, calls: int = 24) -> Crowd:
        """Clients call while the faults strike at random moments of a few seconds."""
        crowd, chance = Crowd(self.service.url, self.key, seed, calls=calls), random.Random(seed)
        load = threading.Thread(target=crowd.run)
        load.start()
        for fault in faults:
            time.sleep(chance.uniform(0.05, 1.2))
            fault()
        load.join()
        return crowd

    def wait_settled(self) -> None:
        """Until nothing waits or runs any more: every accepted call has come to its end by itself."""
        deadline = time.monotonic() + SETTLED_TIMEOUT_S
        while time.monotonic() < deadline:
            ((unsettled,),) = self.rows(
                "SELECT count(*) FROM inference_generation WHERE state IN ('waiting', 'running')"
            )
            if not unsettled:
                return
            time.sleep(0.2)
        raise AssertionError(f"{unsettled} calls never came to an end.\n{self.service.logs()}")

    def judge(self, crowd: Crowd) -> dict[str, int]:
        """What every round must leave behind: each call ended, each picture charged once, the books in balance."""
        assert not crowd.unanswered, crowd.unanswered
        assert not crowd.refused, crowd.refused
        ids = ",".join(map(str, crowd.accepted.values()))
        ended = self.rows(
            f"SELECT state, images_delivered, images_requested, spec FROM inference_generation WHERE id IN ({ids})"
        )
        assert len(ended) == len(crowd.accepted) == crowd.calls, "each idempotency key is one generation"
        for state, delivered, requested, spec in ended:
            assert state in ("succeeded", "failed")
            assert delivered == (requested if state == "succeeded" else 0)
            files = json.loads(spec)["output_keys"] if isinstance(spec, str) else spec["output_keys"]
            assert state == "failed" or all((self.service.run_dir / "media" / key).exists() for key in files)
        audit = self.service.manage("audit", check=False)
        assert audit.returncode == 0, audit.stdout + audit.stderr
        self.judge_money()
        return {"calls": len(ended), "succeeded": sum(state == "succeeded" for state, *_ in ended)}

    def judge_money(self) -> None:
        """By counting pictures, without believing the ledger."""
        ((delivered,),) = self.rows("SELECT coalesce(sum(images_delivered), 0) FROM inference_generation")
        ((balance, held),) = self.rows("SELECT balance_microusd, held_microusd FROM billing_wallet")
        assert (balance, held) == (FUNDS_MICROUSD - delivered * PRICE_MICROUSD, 0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with stage(tmp_path_factory.mktemp("service")) as ready:
        yield ready


@contextlib.contextmanager
def stage(folder: Path, **env: str) -> Iterator[Scene]:
    with (
        running(lambda: PostgresServer(durable=True)) as postgres,
        running(lambda: RedisServer(durable=True)) as broker,
    ):
        settings = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": broker.url,
            "LEASE_S": "6",
            "WEB_PROCESSES": "1",
            "WEB_THREADS": "24",
            "WAIT_TIMEOUT_S": "4",
            "INSTANT_RENDER_S": "0.05",
        }
        service = Service(folder, env=settings | env)
        service.prepare()
        key = service.manage("account_create", "a@example.org", "--plan", "payg", "--funds", "1000").stdout.strip()
        with psycopg.connect(postgres.url) as connection:
            connection.execute("UPDATE billing_wallet SET overrides = %s", [json.dumps(OVERRIDES)])
        try:
            service.start()
            service.wait_ready()
            yield Scene(service, postgres, broker, key)
        finally:
            service.stop()


def seeds(few: int) -> list[int]:
    """SEEDS of them when they are asked for (make test-faults), else the representative few."""
    return list(range(int(os.environ.get("SEEDS") or few)))
