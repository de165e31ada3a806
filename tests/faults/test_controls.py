"""The negative controls of the kill tests: known mistakes, run through the same rounds, are named by the same judge.

Their database is their own: after them its books are not in order, which is the point.
"""

import pytest

from tests.faults.scene import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def _no_past(scene):
    scene.fresh_account()


def kinds(complaints):
    return {complaint.partition(":")[0] for complaint in complaints}


@pytest.mark.control("L2", "L9")
def test_a_settlement_that_ignores_states_charges_repeated_outcomes_again(scene):
    with scene.sabotage(worker="settles-blindly", render="outcomes-twice"):
        crowd = scene.round(1, calls=8)
        scene.wait_settled()
        scene.service.stop("worker")  # its last repeats are through
        scene.service.start("worker")
    assert {"money", "audit"} <= kinds(scene.complaints(crowd))


@pytest.mark.control("L2")
def test_a_charge_that_is_committed_before_its_delivery_is_a_charge_for_nothing(scene):
    with scene.sabotage(worker="charges-before-delivery"), scene.supervised():
        crowd = scene.round(2, calls=8)
        with pytest.raises(AssertionError, match="every call's end"):
            scene.wait_settled(8)
    assert scene.died_at("between-charge-and-delivery")
    assert {"money", "audit", "never ended"} <= kinds(scene.complaints(crowd))
    scene.execute("UPDATE inference_generation SET state = 'failed' WHERE state IN ('waiting', 'running')")


@pytest.mark.control("L2", "L7", "L19")
def test_an_admission_that_is_buffered_in_memory_is_lost_with_its_process(scene):
    with scene.sabotage(web="answers-before-commit"):
        crowd = scene.round(3, calls=8, instant=True)
        scene.kill_and_restart("web")
    assert len(crowd.accepted) == 8
    assert "8 calls, 8 acknowledged, 0 in the database" in scene.complaints(crowd)


@pytest.mark.control("L6", "L9")
def test_a_dispatcher_that_trusts_its_messages_leaves_calls_without_an_end(scene):
    with scene.sabotage(dispatcher="never-sweeps"):
        scene.service.kill("render")  # its queue still gets messages until it is known to be away
        crowd = scene.round(4, calls=6, instant=True)
        wait_until(lambda: scene.messages_to_render() == 6, "all messages to be in the broker")
        scene.flush_redis()
        scene.service.start("render")
        with pytest.raises(AssertionError, match="every call's end"):
            scene.wait_settled(12)
    assert "never ended" in kinds(scene.complaints(crowd))
