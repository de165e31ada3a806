"""L2, L6, L7, L9, L18, L19: whatever is killed when, every accepted call ends and every picture is charged once."""

import random

import pytest

from tests.faults.conftest import Scene, seeds

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(300)]

PROCESSES = ("web", "worker", "dispatcher", "render")


def strike(scene: Scene, names: list[str]):
    return [lambda name=name: scene.kill_and_restart(name) for name in names]


@pytest.mark.parametrize("seed", seeds(2))
def test_killed_processes_lose_and_repeat_nothing(scene, seed):
    chance = random.Random(seed)
    crowd = scene.round(seed, strike(scene, chance.choices(PROCESSES, k=2)))
    scene.wait_settled()
    scene.judge(crowd)


def test_a_graceful_stop_of_each_process_loses_nothing(scene):
    faults = [lambda name=name: scene.stop_and_restart(name) for name in PROCESSES]
    crowd = scene.round(10_000, faults)
    scene.wait_settled()
    scene.judge(crowd)


def test_a_broker_that_forgets_everything_delays_and_loses_nothing(scene):
    crowd = scene.round(10_001, [scene.flush_redis, scene.flush_redis, scene.flush_redis])
    scene.wait_settled()
    scene.judge(crowd)


def test_a_crashed_redis_delays_and_loses_nothing(scene):
    crowd = scene.round(10_002, [scene.crash_redis, scene.crash_redis])
    scene.wait_settled()
    scene.judge(crowd)


def test_what_was_acknowledged_survives_a_crash_of_the_database(scene):
    crowd = scene.round(10_003, [scene.crash_postgres, scene.crash_postgres])
    scene.wait_settled()
    scene.judge(crowd)


def test_the_database_saw_no_deadlock(scene):
    """After all of the above: runs last in this file on purpose."""
    ((deadlocks,),) = scene.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert deadlocks == 0
