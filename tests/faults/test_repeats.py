"""L9: a broker that repeats messages, and two render workers that draw the same attempt: one charge each."""

import pytest

from tests.faults.scene import wait_until

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(600)]


@pytest.mark.proves("L9")
def test_every_outcome_twice_is_charged_once(scene, report):
    with scene.sabotage(render="outcomes-twice"):
        crowd = scene.round(50_000)
        scene.wait_settled()
        report(**scene.judge(crowd))


@pytest.mark.proves("L9")
def test_an_attempt_that_two_workers_draw_is_charged_once(scene, report):
    with scene.second_render_worker(), scene.sabotage(dispatcher="renders-twice"):
        crowd = scene.round(50_001)
        scene.wait_settled()
        report(**scene.judge(crowd))
        drawn = "SELECT (report->>'images')::int FROM inference_renderworker WHERE name = 'second'"
        wait_until(lambda: scene.rows(drawn)[0][0] > 0, "the second worker's word that it drew as well")
