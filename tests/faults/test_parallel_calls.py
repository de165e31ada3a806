"""400 calls at once over HTTP: exactly what the quota or the funds allow is accepted, by two web processes."""

import collections
import time

import pytest

from tests.faults.scene import Scene
from tests.support.clients import TEXT_TO_IMAGE, post, stampede

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(600)]

ENV = {"WEB_PROCESSES": "2"}
CALLS, IMAGES_PAID = 400, 50


def rush(scene: Scene, key: str) -> collections.Counter[str]:
    return stampede(scene.service.url, key, calls=CALLS)


@pytest.fixture
def told(report):
    """Puts what a rush came to into the table of proofs."""

    def tell(outcomes: collections.Counter[str]) -> collections.Counter[str]:
        report(tries=CALLS, admitted=outcomes["accepted"], refused=CALLS - outcomes["accepted"])
        return outcomes

    return tell


@pytest.mark.proves("L4")
def test_a_free_account_gets_exactly_a_hundred(scene, told):
    outcomes = told(rush(scene, scene.open_account("free@example.org")))
    assert outcomes == {"accepted": 100, "daily_quota_exhausted": 300}


@pytest.mark.proves("L3")
def test_funds_for_fifty_images_buy_exactly_fifty(scene, told):
    key = scene.open_account("paid@example.org", "--plan", "payg", "--funds", "0.10", free_calls_per_day=0)
    outcomes = told(rush(scene, key))
    assert outcomes == {"accepted": IMAGES_PAID, "funds_exhausted": CALLS - IMAGES_PAID}


@pytest.mark.proves("L1")
def test_the_books_balance_afterwards(scene):
    scene.wait_settled()
    audit = scene.service.manage("audit", check=False)
    assert audit.returncode == 0, audit.stdout
    ((unspent,),) = scene.rows("SELECT min(balance_microusd) FROM billing_wallet WHERE plan_code = 'payg'")
    assert unspent == 0


@pytest.mark.proves("L5")
def test_the_queue_limit_holds_over_both_processes(scene, told):
    """With nobody rendering, a free account gets its two places and no more."""
    key = scene.open_account("queue@example.org", queued_calls=2)
    scene.service.stop("dispatcher")
    try:
        outcomes = told(rush(scene, key))
        assert outcomes == {"accepted": 2, "queue_full": CALLS - 2}
    finally:
        scene.service.start("dispatcher")


@pytest.mark.proves("L5")
def test_the_minute_limit_holds_over_both_processes(scene, told):
    key = scene.open_account("minute@example.org", calls_per_minute=10)
    assert told(rush(scene, key)) == {"accepted": 10, "rate_limited": CALLS - 10}


def test_a_key_s_limit_of_a_day_holds_over_both_processes(scene, told):
    key = scene.open_account("keyday@example.org")
    scene.execute(
        "UPDATE accounts_apikey SET calls_per_day = 30 WHERE account_id = (SELECT max(id) FROM accounts_account)"
    )
    assert told(rush(scene, key)) == {"accepted": 30, "key_quota_exhausted": CALLS - 30}


def test_new_restrictions_of_a_key_hold_in_both_processes_within_a_second(scene):
    """Both processes know the key by heart when its list of pages is set."""
    key = scene.open_account("pages@example.org", free_calls_per_day=0)
    asked = {"key": key, "prompt": "a red circle"}

    def codes() -> set[str]:
        return {post(scene.service.url, TEXT_TO_IMAGE, asked)[1]["code"] for _ in range(40)}

    assert "origin_denied" not in codes()
    scene.execute(
        "UPDATE accounts_apikey SET origins = '[\"https://app.example.com\"]'"
        " WHERE account_id = (SELECT max(id) FROM accounts_account)"
    )
    time.sleep(1.0)
    assert codes() == {"origin_denied"}


@pytest.mark.control("L5")
def test_processes_that_count_alone_let_through_several_times_the_limit(scene):
    with scene.sabotage(web="counts-alone,never-recounts"):
        key = scene.open_account("alone@example.org", calls_per_minute=10)
        assert rush(scene, key)["accepted"] > 10
