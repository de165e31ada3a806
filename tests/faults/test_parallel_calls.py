"""400 calls at once over HTTP: exactly what the quota or the funds allow is accepted, by two web processes."""

import collections
import json
import threading

import psycopg
import pytest

from tests.faults.conftest import Scene, stage
from tests.support.clients import TEXT_TO_IMAGE, post

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.timeout(200)]

CALLS, THREADS, IMAGES_PAID = 400, 32, 50


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with stage(tmp_path_factory.mktemp("parallel"), WEB_PROCESSES="2") as ready:
        yield ready


def account(scene: Scene, email: str, *options: str, **overrides: int) -> str:
    key = scene.service.manage("account_create", email, *options).stdout.strip()
    limits = json.dumps({"calls_per_minute": 10**6, "queued_calls": 10**6, **overrides})
    with psycopg.connect(scene.postgres.url) as connection:
        connection.execute(
            "UPDATE billing_wallet SET overrides = %s WHERE account_id = (SELECT max(id) FROM accounts_account)",
            [limits],
        )
    return key


def rush(scene: Scene, key: str) -> collections.Counter[str]:
    """Every call from its own connection, all threads started on one barrier."""
    outcomes: collections.Counter[str] = collections.Counter()
    start, lock = threading.Barrier(THREADS), threading.Lock()

    def work() -> None:
        start.wait()
        for _ in range(CALLS // THREADS + (1 if threading.current_thread().name in extra else 0)):
            body = {"key": key, "prompt": "a red circle", "width": 64, "height": 64, "instant_response": "yes"}
            status, answer = post(scene.service.url, TEXT_TO_IMAGE, body)
            with lock:
                outcomes["accepted" if status == 200 else answer["code"]] += 1

    workers = [threading.Thread(target=work, name=str(number)) for number in range(THREADS)]
    extra = {str(number) for number in range(CALLS % THREADS)}
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return outcomes


def test_a_free_account_gets_exactly_a_hundred(scene):
    outcomes = rush(scene, account(scene, "free@example.org"))
    assert outcomes == {"accepted": 100, "daily_quota_exhausted": 300}


def test_funds_for_fifty_images_buy_exactly_fifty(scene):
    key = account(scene, "paid@example.org", "--plan", "payg", "--funds", "0.10", free_calls_per_day=0)
    outcomes = rush(scene, key)
    assert outcomes == {"accepted": IMAGES_PAID, "funds_exhausted": CALLS - IMAGES_PAID}


def test_the_books_balance_afterwards(scene):
    scene.wait_settled()
    audit = scene.service.manage("audit", check=False)
    assert audit.returncode == 0, audit.stdout
    ((unspent,),) = scene.rows("SELECT min(balance_microusd) FROM billing_wallet WHERE plan_code = 'payg'")
    assert unspent == 0


def test_the_queue_limit_holds_over_both_processes(scene):
    """With nobody rendering, a free account gets its two places and no more."""
    key = account(scene, "queue@example.org", queued_calls=2)
    scene.service.stop("dispatcher")
    try:
        outcomes = rush(scene, key)
        assert outcomes == {"accepted": 2, "queue_full": CALLS - 2}
    finally:
        scene.service.start("dispatcher")


def test_the_minute_limit_holds_over_both_processes(scene):
    key = account(scene, "minute@example.org", calls_per_minute=10)
    assert rush(scene, key) == {"accepted": 10, "rate_limited": CALLS - 10}
