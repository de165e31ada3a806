"""Connections that arrive together are shared out among the web processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from gateway import even_worker
from gateway.even_worker import LEAD, SILENT_S, EvenWorker
from tests.support.service import Service

TOGETHER = 64
ESTABLISHED = "01"


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connections(pid: int, port: int) -> int:
    """Accepted connections to `port` that a process holds."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[3] == ESTABLISHED and int(row[1].rpartition(":")[2], 16) == port}
    held = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held += str(file.readlink()).removeprefix("socket:[").rstrip("]") in inodes
    return held


def test_both_processes_take_their_part(tmp_path):
    service = Service(tmp_path, env={"WEB_PROCESSES": "2"})
    try:
        service.prepare()
        service.start("web")
        service.wait_live()
        workers = children(service.processes["web"].pid)
        assert len(workers) == 2
        with contextlib.ExitStack() as open_ones:
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            for _ in range(TOGETHER):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            # One wakes a moment before the other, and finds all of them waiting.
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.015)
            deadline = time.monotonic() + 30
            while sum(held := [connections(pid, service.port) for pid in workers]) < TOGETHER:
                assert time.monotonic() < deadline, f"only {held} were accepted"
                time.sleep(0.05)
        assert min(held) >= TOGETHER * 3 // 8, held
    finally:
        service.discard()


@pytest.fixture
def told(monkeypatch):
    """What the processes told, empty."""
    told = memoryview(bytearray(even_worker.SLOTS * 8)).cast("I")
    monkeypatch.setattr(even_worker, "_told", told)
    return told


def worker(place: int, connections: int) -> EvenWorker:
    made = EvenWorker.__new__(EvenWorker)
    made._place, made.nr_conns = place * 2, connections
    return made


def tell(told, place: int, connections: int, ago_s: int = 0) -> None:
    told[place * 2], told[place * 2 + 1] = connections, int(time.monotonic()) - ago_s


def test_who_has_fewest_counts_and_who_is_silent_does_not(told):
    tell(told, 0, 9)
    tell(told, 1, 4)
    tell(told, 2, 1, ago_s=SILENT_S + 1)
    assert worker(0, 9)._fewest() == 4


def test_who_is_about_to_end_is_not_waited_for(told, monkeypatch):
    monkeypatch.setattr(even_worker.ThreadWorker, "notify", lambda self: None)
    ending, serving = worker(0, 1), worker(1, 7)
    ending.alive, serving.alive = True, True
    ending.notify()
    serving.notify()
    assert serving._fewest() == 1
    ending.alive = False
    ending.notify()
    assert serving._fewest() == 7


@pytest.mark.parametrize(("ahead", "waits"), [(LEAD, True), (LEAD - 1, False)])
def test_only_who_is_ahead_lets_others_go_first(told, monkeypatch, ahead, waits):
    slept, accepted = [], []
    monkeypatch.setattr(even_worker.time, "sleep", slept.append)
    monkeypatch.setattr(even_worker.ThreadWorker, "accept", lambda self, listener: accepted.append(listener))
    tell(told, 0, 4 + ahead)
    tell(told, 1, 4)
    worker(0, 4 + ahead).accept("the listener")
    assert accepted == ["the listener"]
    assert bool(slept) == waits
