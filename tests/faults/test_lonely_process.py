"""L5: one process alone has lost Redis, and the others have not heard of it. Together they still keep the limit."""

import threading
import time

import pytest

from gateway.caching import REVISION_EVERY_S
from tests.faults.scene import stage, wait_until
from tests.support.clients import post, run_all, stampede
from tests.support.servers import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(600)]

LIMIT = 10
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="module")
def scene(servers, tmp_path_factory):
    with stage(servers, tmp_path_factory.mktemp("lonely"), database="lonely") as ready:
        port = free_port()
        web = ready.service.commands["web"]
        ready.service.commands["lonely"] = ["env", f"REDIS_URL={NOBODY}", f"PORT={port}", *web]
        ready.service.start("lonely")
        ready.lonely_url = f"http://127.0.0.1:{port}"
        yield ready


@pytest.fixture(autouse=True)
def long_counting(scene):
    """Redis has been there for more than a minute; no outage is known."""
    wait_until(lambda: answers(scene.lonely_url), "the lonely process")
    scene.execute("DELETE FROM gateway_limitoutage")
    scene.execute("UPDATE gateway_revision SET number = number + 1")
    time.sleep(2 * REVISION_EVERY_S)  # by then every process has looked
    scene.redis.forget_all()


def answers(url):
    try:
        return post(url, "/api/v6/images/text2img", {})[0] == 401
    except OSError:
        return False


def rush_both(scene, key, calls):
    """The same load on both at the same time: how many calls each let in."""
    outcomes = {}

    def load(name, url):
        outcomes[name] = stampede(url, key, calls=calls, threads=6)

    urls = {"usual": scene.service.url, "lonely": scene.lonely_url}
    run_all([threading.Thread(target=load, args=one) for one in urls.items()])
    assert set().union(*outcomes.values()) <= {"accepted", "rate_limited"}
    return {name: outcome["accepted"] for name, outcome in outcomes.items()}


@pytest.mark.proves("L5")
@pytest.mark.parametrize("before", [0, 4, LIMIT])
def test_the_limit_holds_over_both(scene, before, report):
    key = scene.open_account(f"lonely{before}@example.org", calls_per_minute=LIMIT)
    assert stampede(scene.service.url, key, calls=before, threads=2)["accepted"] == before
    accepted = sum(rush_both(scene, key, 20).values())
    assert before + accepted == LIMIT
    report(tries=before + 40, admitted=before + accepted, refused=40 - accepted)


@pytest.mark.proves("L5")
def test_what_the_lonely_one_let_in_counts_for_the_others(scene):
    key = scene.open_account("first@example.org", calls_per_minute=LIMIT)
    assert stampede(scene.lonely_url, key, calls=7, threads=2)["accepted"] == 7
    assert stampede(scene.service.url, key, calls=7, threads=2) == {"accepted": 3, "rate_limited": 4}


@pytest.mark.control("L5")
def test_without_the_recount_each_lets_in_the_limit_and_more(scene):
    with scene.sabotage(web="never-recounts", lonely="never-recounts"):
        wait_until(lambda: answers(scene.lonely_url), "the lonely process")
        key = scene.open_account("trusting@example.org", calls_per_minute=LIMIT)
        assert sum(rush_both(scene, key, 20).values()) > LIMIT
