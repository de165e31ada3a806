"""L1, L18: two of every process under mixed load; the books balance at every commit and no lock waits in a circle."""

import random
import threading

import pytest

from tests.faults.scene import long_run
from tests.support.clients import MixedLoad

SECONDS = 600 if long_run() else 12

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(SECONDS + 200)]

ENV = {"WEB_PROCESSES": "2"}


@pytest.fixture(scope="module", autouse=True)
def _second_worker(scene):
    scene.service.commands["worker2"] = scene.service.commands["worker"]
    scene.service.start("worker2")


def run_watched(scene, load):
    """Run the load; the differences that snapshots of the database showed while it went on, and how many were taken."""
    running, seen, snapshots = threading.Thread(target=load.run), set(), 0
    running.start()
    while running.is_alive():
        seen |= scene.differences() - scene.differences_before
        snapshots += 1
        running.join(random.Random(snapshots).uniform(0.05, 0.3))
    return seen, snapshots


@pytest.mark.proves("L1", "L18")
def test_the_books_balance_at_every_commit_and_nothing_deadlocks(scene, report):
    accounts = [scene.accounts.pop() for _ in range(4)]
    load = MixedLoad(scene.service.url, [key for _, key in accounts], seed=18, seconds=SECONDS)
    differences, snapshots = run_watched(scene, load)
    scene.wait_settled()
    assert load.surprises == []
    assert differences == set()
    assert snapshots >= 10
    admitted = sum(map(len, load.accepted.values()))
    for account_id, key in accounts:
        scene.account_id = account_id
        assert scene.money_complaints() == []
        found = scene.rows(f"SELECT count(*) FROM inference_generation WHERE account_id = {account_id}")
        assert found == [(len(load.accepted[key]),)]
    assert scene.deadlocks() == 0
    states = dict(scene.rows("SELECT state, count(*) FROM billing_hold GROUP BY state"))
    report(seed=18, tries=admitted, admitted=admitted, refused=0, audit=f"0 differences in {snapshots} snapshots")
    report(captured=states["captured"], released=states.get("released", 0))


@pytest.mark.control("L1", "L18")
def test_locks_taken_in_any_order_deadlock_and_half_a_settlement_is_seen(scene):
    accounts = [scene.accounts.pop() for _ in range(4)]
    load = MixedLoad(scene.service.url, [key for _, key in accounts], seed=19, seconds=8)
    with scene.sabotage(worker="locks-in-any-order", worker2="locks-in-any-order"):
        differences, _ = run_watched(scene, load)
    assert differences, "the money of a settlement was visible without its result"
    assert scene.deadlocks() > 0
