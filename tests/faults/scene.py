"""A whole service on servers that survive kills, what may befall it, and the judgement after each round."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis

from billing.audit import CHECKS
from gateway.audit import CROSS_CHECKS
from inference.broker import render_queue
from tests.support.clients import Crowd
from tests.support.sabotage import MOMENTS, flag, sabotaged
from tests.support.servers import PostgresServer, RedisServer
from tests.support.service import Service

FUNDS_MICROUSD = 10**9
PRICE_MICROUSD = 2_000
SETTLED_TIMEOUT_S = 240.0
ACCOUNTS = 12
# No call of these tests is free: every picture must be found in the ledger.
OVERRIDES = {"calls_per_minute": 10**6, "queued_calls": 10**6, "free_calls_per_day": 0}
PROCESSES = ("web", "worker", "dispatcher", "render")
# Each test module gets a copy of this database: migrating once is enough.
TEMPLATE = "prepared"


@dataclass(frozen=True)
class Servers:
    postgres: PostgresServer
    redis: RedisServer
    accounts: list[tuple[int, str]]
    """Ids and keys of the accounts that every copy of the template has."""


@dataclass
class Scene:
    """The service under test with its servers. `accounts` are those that no test has used yet."""

    service: Service
    postgres: PostgresServer
    redis: RedisServer
    database_url: str
    accounts: list[tuple[int, str]]
    differences_before: set[str] = field(default_factory=set)
    seeds: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.account_id, self.key = self.accounts.pop()

    def fresh_account(self) -> None:
        """From here on, the crowds call for an account without a past."""
        self.account_id, self.key = self.accounts.pop()
        self.seeds.clear()

    def open_account(self, email: str, *options: str, **overrides: int) -> str:
        """The key of an account that is limited by its plan's quota and funds alone, unless overrides say more."""
        key = self.service.manage("account_create", email, *options).stdout.strip()
        self.execute(
            "UPDATE billing_wallet SET overrides = %s WHERE account_id = (SELECT max(id) FROM accounts_account)",
            json.dumps({"calls_per_minute": 10**6, "queued_calls": 10**6, **overrides}),
        )
        return key

    def rows(self, sql: str) -> list[tuple]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str, *values: object) -> None:
        with psycopg.connect(self.database_url) as connection:
            connection.execute(sql, values)

    # --- what may befall it --------------------------------------------------------------------------------------

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

    def messages_to_render(self) -> int:
        """How many lie in the broker for the render worker. A row is marked as running before its message is sent."""
        return redis.Redis.from_url(self.redis.url).llen(render_queue(self.service.env["RENDER_NAME"]))

    def crash_redis(self) -> None:
        self.redis.kill()
        time.sleep(0.5)
        self.redis.start()

    def crash_postgres(self) -> None:
        self.postgres.kill()
        self.postgres.start()

    def stop_postgres_at_once(self) -> None:
        """What `pg_ctl stop -m immediate` does: no checkpoint, every backend told to quit; recovery at the start."""
        assert self.postgres.process
        self.postgres.process.send_signal(signal.SIGQUIT)
        self.postgres.process.wait(20)
        self.postgres.start()

    @contextlib.contextmanager
    def sabotage(self, **names: str) -> Iterator[None]:
        """The named processes run altered inside this block; afterwards all are in order again."""
        honest = dict(self.service.commands)
        try:
            for process, altered in names.items():
                self.service.commands[process] = sabotaged(honest[process], *altered.split(","))
                self.stop_and_restart(process)
            self.service.wait_ready()
            yield
        finally:
            self.service.commands = honest
            for process in names:
                if process in self.service.processes:
                    self.service.kill(process)
                self.service.start(process)

    @contextlib.contextmanager
    def second_render_worker(self) -> Iterator[None]:
        self.service.commands["second"] = ["env", "RENDER_NAME=second", *self.service.commands["render"]]
        try:
            self.service.start("second")
            self.wait_rendering(2)
            yield
        finally:
            self.service.stop("second")
            del self.service.commands["second"]

    def wait_rendering(self, workers: int) -> None:
        wait_until(
            lambda: (
                self.rows(
                    "SELECT count(*) FROM inference_renderworker"
                    " WHERE state IN ('idle', 'busy') AND last_seen_at > now() - interval '8 seconds'"
                )
                >= [(workers,)]
            ),
            f"{workers} render workers",
        )

    @contextlib.contextmanager
    def supervised(self) -> Iterator[None]:
        """Whoever ends is started again, as any supervisor would."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                for name in self.service.commands:
                    self.service.start_if_ended(name)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def died_at(self, moment: str) -> bool:
        return flag(self.service.run_dir, moment).exists()

    # --- a round and its judgement -------------------------------------------------------------------------------

    def round(
        self, seed: int, faults: list[Callable[[], None]] | None = None, *, calls: int = 24, **crowd_options: object
    ) -> Crowd:
        """Clients call while the faults strike at random moments of a few seconds."""
        assert seed not in self.seeds, "these calls were made before: their keys would only repeat the old answers"
        self.seeds.add(seed)
        self.differences_before = self.differences()
        crowd, chance = Crowd(self.service.url, self.key, seed, calls=calls, **crowd_options), random.Random(seed)
        load = threading.Thread(target=crowd.run)
        load.start()
        for fault in faults or []:
            time.sleep(chance.uniform(0.05, 1.2))
            fault()
        load.join()
        return crowd

    def wait_settled(self, timeout_s: float = SETTLED_TIMEOUT_S) -> None:
        """Until nothing waits or runs any more: every accepted call has come to its end by itself."""
        unsettled = "SELECT count(*) FROM inference_generation WHERE state IN ('waiting', 'running')"
        wait_until(
            lambda: self.rows(unsettled) == [(0,)],
            lambda: f"every call's end\n{self.service.logs()}",
            timeout_s,
        )

    def judge(self, crowd: Crowd) -> dict[str, int]:
        """What every round must leave behind; the figures of its proof."""
        complaints = self.complaints(crowd)
        assert not complaints, "\n".join(complaints)
        return self.figures(crowd)

    def figures(self, crowd: Crowd) -> dict[str, object]:
        states = dict(
            self.rows(
                "SELECT h.state, count(*) FROM billing_hold h JOIN inference_generation g ON g.id = h.reference"
                f" WHERE g.id IN ({_ids(crowd)}) GROUP BY h.state"
            )
        )
        return {
            "seed": crowd.seed,
            "tries": crowd.calls,
            "admitted": len(crowd.accepted),
            "refused": len(crowd.refused),
            "captured": states.get("captured", 0),
            "released": states.get("released", 0),
            "audit": f"{len(self.differences() - self.differences_before)} differences",
        }

    def complaints(self, crowd: Crowd) -> list[str]:
        """Each call ended, each picture is there and charged once, the books are in balance; else why not."""
        found = [f"unanswered: {name}" for name in crowd.unanswered]
        found += [f"refused: {name} {code}" for name, code in crowd.refused.items()]
        ended = self.rows(
            "SELECT id, state, images_delivered, images_requested, spec->'output_keys' FROM inference_generation"
            f" WHERE id IN ({_ids(crowd)})"
        )
        if not len(ended) == len(crowd.accepted) == crowd.calls:
            found.append(f"{crowd.calls} calls, {len(crowd.accepted)} acknowledged, {len(ended)} in the database")
        for generation_id, state, delivered, requested, keys in ended:
            if state not in ("succeeded", "failed"):
                found.append(f"never ended: {generation_id} is {state}")
            elif delivered != (requested if state == "succeeded" else 0):
                found.append(f"partly delivered: {generation_id} {state} {delivered} of {requested}")
            elif state == "succeeded" and not all((self.service.run_dir / "media" / key).exists() for key in keys):
                found.append(f"pictures missing: {generation_id}")
        found += [f"audit: {difference}" for difference in sorted(self.differences() - self.differences_before)]
        return found + self.money_complaints()

    def money_complaints(self) -> list[str]:
        """By counting pictures, without believing the ledger."""
        ((delivered, held),) = self.rows(
            "SELECT coalesce(sum(images_delivered), 0), coalesce(sum(images_requested)"
            " FILTER (WHERE state IN ('waiting', 'running')), 0) FROM inference_generation"
            f" WHERE account_id = {self.account_id}"
        )
        (wallet,) = self.rows(
            f"SELECT balance_microusd, held_microusd FROM billing_wallet WHERE account_id = {self.account_id}"
        )
        expected = (FUNDS_MICROUSD - delivered * PRICE_MICROUSD, held * PRICE_MICROUSD)
        return [] if wallet == expected else [f"money: balance and held are {wallet}, by the pictures {expected}"]

    def differences(self) -> set[str]:
        """The checks of the audit command, all on one snapshot of the database, whatever goes on meanwhile."""
        with psycopg.connect(self.database_url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            return {
                f"{check.name}: {row}"
                for check in (*CHECKS, *CROSS_CHECKS)
                for row in connection.execute(check.sql.encode()).fetchall()
            }

    def places_taken(self) -> int:
        """What the limiter counts as queued, of all accounts."""
        client = redis.Redis.from_url(self.redis.url)
        return sum(client.zcard(key) for key in client.scan_iter("limit:*:queued"))

    def deadlocks(self) -> int:
        """A backend reports its statistics after a second at most, or as it ends."""
        time.sleep(1.2)
        return int(self.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0])


def _ids(crowd: Crowd) -> str:
    return ",".join(map(str, crowd.accepted.values())) or "0"


def wait_until(done: Callable[[], bool], what: str | Callable[[], str], timeout_s: float = 30.0) -> None:
    """`what` is waited for; a function tells it when the time has run out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if done():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout_s} s in vain for {what if isinstance(what, str) else what()}")


def prepare(postgres: PostgresServer, redis_server: RedisServer, folder: Path) -> Servers:
    """The database that every module's own is a copy of: migrated, with prices, and with funded accounts."""
    service = Service(folder, env={"DATABASE_URL": postgres.create_database(TEMPLATE), "REDIS_URL": redis_server.url})
    service.prepare()
    script = f"from tests.support.money import accounts_open; accounts_open({ACCOUNTS}, {FUNDS_MICROUSD}, {OVERRIDES})"
    printed = service.manage("shell", "-v", "0", "-c", script).stdout
    return Servers(postgres, redis_server, [tuple(pair) for pair in json.loads(printed.splitlines()[-1])])


@contextlib.contextmanager
def stage(servers: Servers, folder: Path, *, database: str, **env: str) -> Iterator[Scene]:
    """A running service with a database of its own on `servers`."""
    with psycopg.connect(servers.postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE}".encode())
    settings = {
        "DATABASE_URL": servers.postgres.url_of(database),
        "REDIS_URL": servers.redis.url,
        "LEASE_S": "6",
        "WEB_PROCESSES": "1",
        "WEB_THREADS": "24",
        "WAIT_TIMEOUT_S": "4",
        "INSTANT_RENDER_S": "0.05",
    }
    service = Service(folder, env=settings | env)
    with contextlib.suppress(redis.RedisError):
        servers.redis.forget_all()
    try:
        service.start()
        service.wait_ready()
        yield Scene(service, servers.postgres, servers.redis, settings["DATABASE_URL"], list(servers.accounts))
    finally:
        service.discard()


def long_run() -> bool:
    """Whether the whole matrix was asked for (make test-faults), not only its representative part."""
    return bool(os.environ.get("SEEDS"))


def seeds(few: int) -> list[int]:
    """SEEDS of them when they are asked for (make test-faults), else the representative few."""
    return list(range(int(os.environ.get("SEEDS") or few)))


assert {moment.process for moment in MOMENTS.values()} == set(PROCESSES)
