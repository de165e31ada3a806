"""L2, L6, L7, L9, L18, L19: whatever is killed when, every accepted call ends and every picture is charged once."""

import random

import pytest

from tests.faults.scene import PROCESSES, Scene, seeds

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(600)]


def strike(scene: Scene, names: list[str]):
    return [lambda name=name: scene.kill_and_restart(name) for name in names]


def judged(scene: Scene, crowd, report) -> None:
    scene.wait_settled()
    report(**scene.judge(crowd))


@pytest.mark.proves("L2", "L6")
@pytest.mark.parametrize("seed", seeds(1))
def test_killed_processes_lose_and_repeat_nothing(scene, seed, report):
    chance = random.Random(seed)
    judged(scene, scene.round(seed, strike(scene, chance.choices(PROCESSES, k=2))), report)


@pytest.mark.proves("L6", "L19")
def test_a_graceful_stop_of_each_process_loses_nothing(scene, report):
    faults = [lambda name=name: scene.stop_and_restart(name) for name in PROCESSES]
    judged(scene, scene.round(10_000, faults), report)


@pytest.mark.proves("L9", "L13")
def test_a_broker_that_forgets_everything_delays_and_loses_nothing(scene, report):
    judged(scene, scene.round(10_001, [scene.flush_redis, scene.flush_redis, scene.flush_redis]), report)


@pytest.mark.proves("L13")
def test_a_crashed_redis_delays_and_loses_nothing(scene, report):
    judged(scene, scene.round(10_002, [scene.crash_redis, scene.crash_redis]), report)


@pytest.mark.proves("L7")
def test_what_was_acknowledged_survives_a_crash_of_the_database(scene, report):
    judged(scene, scene.round(10_003, [scene.crash_postgres, scene.stop_postgres_at_once], threads=8), report)


@pytest.mark.faults
@pytest.mark.proves("L7")
@pytest.mark.parametrize("seed", range(20_000, 20_020))
def test_the_database_stopped_at_once_under_eight_clients_loses_nothing(scene, seed, report):
    judged(scene, scene.round(seed, [scene.stop_postgres_at_once], threads=8), report)


@pytest.mark.proves("L18")
def test_the_database_saw_no_deadlock(scene):
    """After all of the above: runs last in this file on purpose. Without crashes: see test_mixed_load."""
    assert scene.deadlocks() == 0


def test_the_audit_command_agrees(scene):
    audit = scene.service.manage("audit", check=False)
    assert audit.returncode == 0, audit.stdout
    assert "0 differences" in audit.stdout
