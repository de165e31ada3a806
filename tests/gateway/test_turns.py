"""Few jobs compute at once; who waits for long holds nobody up."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable

import pytest

from gateway.turns import PATIENCE_S, Turns, give_turn_away
from tests.support.service import Service

SOON_S = 10.0


class Held:
    """Jobs that stay until they are let go, and who of them has begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._go: dict[str, threading.Event] = {}

    def job(self, name: str, *, first: Callable[[], None] = lambda: None) -> Callable[[], None]:
        self._go[name] = threading.Event()

        def run() -> None:
            first()
            self.begun.append(name)
            assert self._go[name].wait(SOON_S)

        return run

    def end(self, *names: str) -> None:
        for name in names or list(self._go):
            self._go[name].set()

    def wait_for(self, *names: str) -> None:
        deadline = time.monotonic() + SOON_S
        while not set(names) <= set(self.begun):
            assert time.monotonic() < deadline, self.begun
            time.sleep(0.001)


@pytest.fixture
def held():
    jobs = Held()
    yield jobs
    jobs.end()


def test_no_more_than_its_number_run_and_the_others_follow_in_order(held):
    turns = Turns(at_once=2, threads_max=9)
    for name in "abcd":
        turns.submit(held.job(name))
    held.wait_for("a", "b")
    assert turns.someone_waits
    held.end("b")
    held.wait_for("c")
    assert sorted(held.begun) == ["a", "b", "c"]
    held.end("a")
    held.wait_for("d")
    assert not turns.someone_waits


def test_who_begins_to_wait_gives_its_turn_away(held):
    turns = Turns(at_once=1, threads_max=9)
    for name in "abc":
        turns.submit(held.job(name, first=give_turn_away))
    held.wait_for("a", "b", "c")
    held.end()


def test_a_turn_that_was_given_away_is_not_given_back_twice(held):
    turns = Turns(at_once=1, threads_max=9)
    turns.submit(held.job("waits", first=lambda: (give_turn_away(), give_turn_away())))
    turns.submit(held.job("runs"))
    turns.submit(held.job("next"))
    held.wait_for("waits", "runs")
    held.end("waits")
    time.sleep(PATIENCE_S)
    assert "next" not in held.begun
    held.end("runs")
    held.wait_for("next")


def test_who_takes_long_loses_its_turn(held):
    turns = Turns(at_once=1, threads_max=9)
    turns.submit(held.job("slow"))
    turns.submit(held.job("quick"))
    turns.relieve()
    assert held.begun in ([], ["slow"])
    time.sleep(PATIENCE_S * 1.5)
    turns.relieve()
    held.wait_for("slow", "quick")


def test_there_are_never_more_threads_than_allowed(held):
    turns = Turns(at_once=1, threads_max=2)
    for name in "abc":
        turns.submit(held.job(name, first=give_turn_away))
    held.wait_for("a", "b")
    time.sleep(PATIENCE_S)
    assert held.begun == ["a", "b"]
    assert turns.someone_waits
    held.end("a")
    held.wait_for("c")


def test_the_thread_that_ran_last_runs_next():
    turns = Turns(at_once=1, threads_max=9)
    names, ended = [], threading.Semaphore(0)

    def job() -> None:
        names.append(threading.get_ident())
        ended.release()

    for _ in range(50):
        turns.submit(job)
        assert ended.acquire(timeout=SOON_S)
    assert len(set(names)) <= 2  # one may still be on its way to rest when the next job comes


def test_a_job_that_raises_ends_nothing_else(held, caplog):
    turns = Turns(at_once=1, threads_max=1)

    def broken() -> None:
        raise ValueError("broken on purpose")

    with caplog.at_level(logging.ERROR):
        turns.submit(broken)
        turns.submit(held.job("next"))
        held.wait_for("next")
    assert "broken on purpose" in caplog.text


def test_giving_away_what_one_does_not_have_does_nothing():
    give_turn_away()


def test_clients_that_send_nothing_hold_nobody_up(tmp_path):
    service = Service(tmp_path, env={"WEB_PROCESSES": "1", "WEB_CALLS_AT_ONCE": "2"})
    try:
        service.prepare()
        service.start("web")
        service.wait_live()
        with contextlib.ExitStack() as opened:
            for _ in range(20):
                opened.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            began = time.monotonic()
            asked = http.client.HTTPConnection("127.0.0.1", service.port, timeout=SOON_S)
            opened.callback(asked.close)
            asked.request("GET", "/health/live")
            assert asked.getresponse().status == 200
            # gunicorn waits five seconds for the first bytes of each connection.
            assert time.monotonic() - began < 4
    finally:
        service.discard()
