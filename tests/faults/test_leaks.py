"""L6: whoever leaves, cancels or dies, no hold stays open and no place in an account's queue stays taken."""

import random
import threading
import time

import pytest

from tests.faults.scene import wait_until
from tests.support.clients import CANCEL, leave_at_once, post, run_all

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(600)]

# What the dispatcher needs to find a place that nobody gave back.
PLACES_FREE_S = 45


@pytest.fixture(autouse=True)
def _no_past(scene):
    scene.fresh_account()


def wait_places_free(scene):
    wait_until(lambda: scene.places_taken() == 0, "free places in the queue", PLACES_FREE_S)


@pytest.mark.proves("L6")
def test_clients_that_hang_up_leave_nothing_behind(scene):
    names = [f"left-{number}" for number in range(12)]
    run_all([threading.Thread(target=leave_at_once, args=(scene.service.url, scene.key, name)) for name in names])
    time.sleep(0.5)
    scene.wait_settled()
    states = f"SELECT state, count(*) FROM billing_hold WHERE account_id = {scene.account_id} GROUP BY state"
    assert scene.rows(states) == [("captured", 12)]
    assert scene.money_complaints() == []
    wait_places_free(scene)


@pytest.mark.proves("L6")
def test_cancels_that_race_with_their_pictures_end_each_call_once(scene, report):
    chance, lock = random.Random(7), threading.Lock()

    def cancel_soon(generation_id, delay_s):
        time.sleep(delay_s)
        status, _ = post(scene.service.url, CANCEL, {"key": scene.key, "request_id": generation_id})
        with lock:
            answers.append(status)

    answers = []
    crowd = scene.round(7, calls=24, instant=True)
    run_all(
        [
            threading.Thread(target=cancel_soon, args=(generation_id, chance.uniform(0, 0.4)))
            for generation_id in crowd.accepted.values()
        ]
    )
    scene.wait_settled()
    assert all(status < 500 for status in answers)
    states = dict(
        scene.rows(
            f"SELECT state, count(*) FROM inference_generation WHERE account_id = {scene.account_id} GROUP BY state"
        )
    )
    assert set(states) <= {"succeeded", "cancelled"}
    assert sum(states.values()) == 24
    assert scene.money_complaints() == []
    assert scene.differences() == set()
    wait_places_free(scene)
    report(**scene.figures(crowd))


@pytest.mark.proves("L6")
@pytest.mark.parametrize(
    ("process", "moment"),
    [
        ("worker", "settlement-after-commit"),
        pytest.param("web", "admission-before-commit", marks=pytest.mark.faults),
    ],
)
def test_a_place_whose_process_died_is_free_again_soon(scene, process, moment):
    """The limiter's place and the row are in two stores: between them a process may die."""
    with scene.sabotage(**{process: moment}), scene.supervised():
        scene.round(60_000, calls=6)
        scene.wait_settled()
    assert scene.died_at(moment)
    wait_places_free(scene)


@pytest.mark.faults
@pytest.mark.control("L6", "L13")
def test_without_the_comparison_such_a_place_is_never_free(scene):
    (scene.service.run_dir / "died-settlement-after-commit").unlink(missing_ok=True)
    with scene.sabotage(worker="settlement-after-commit", dispatcher="never-reconciles"), scene.supervised():
        scene.round(61_000, calls=6)
        scene.wait_settled()
        assert scene.died_at("settlement-after-commit")
        with pytest.raises(AssertionError, match="free places"):
            wait_places_free(scene)
