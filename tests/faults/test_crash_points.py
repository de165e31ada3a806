"""L2, L6: processes that die at named moments of a call, in the middle of others; each moment is reached once."""

import pytest

from tests.faults.scene import PROCESSES
from tests.support.sabotage import MOMENTS

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(600)]

BY_PROCESS = {process: [name for name, one in MOMENTS.items() if one.process == process] for process in PROCESSES}
# In each round every process dies once, at its next moment.
ROUNDS = [
    {process: moments[number] for process, moments in BY_PROCESS.items() if number < len(moments)}
    for number in range(max(map(len, BY_PROCESS.values())))
]


def unreached(scene, moments):
    return [moment for moment in moments.values() if not scene.died_at(moment)]


@pytest.mark.proves("L2", "L6")
@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_dying_at_a_named_moment_loses_and_repeats_nothing(scene, number, report):
    moments = ROUNDS[number]
    with scene.sabotage(**moments), scene.supervised():
        crowd = scene.round(30_000 + number)
        scene.wait_settled()
        # A moment that this round's calls did not come to, because an earlier one stood in their way, gets more calls.
        for more in range(3):
            if not unreached(scene, moments):
                break
            scene.judge(crowd)
            crowd = scene.round(31_000 + 10 * number + more)
            scene.wait_settled()
    assert unreached(scene, moments) == []
    report(**scene.judge(crowd))


@pytest.mark.faults
@pytest.mark.proves("L2")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("moment", MOMENTS)
def test_dying_at_one_moment_alone_loses_and_repeats_nothing(scene, moment, seed, report):
    (scene.service.run_dir / f"died-{moment}").unlink(missing_ok=True)
    with scene.sabotage(**{MOMENTS[moment].process: moment}), scene.supervised():
        crowd = scene.round(40_000 + 10 * list(MOMENTS).index(moment) + seed, calls=12)
        scene.wait_settled()
    assert scene.died_at(moment)
    report(**scene.judge(crowd))
