"""The supervisor that `make run` is made of: all start, all end, a fallen one comes back, a hopeless one is told."""

import os
import threading
import time

import pytest

from tools import supervisor as supervisor_module
from tools.problems import Problem
from tools.supervisor import Supervisor, read_procfile


def wait_for(condition, *, within_s=10.0):
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def run(tmp_path):
    """Start the given commands and watch them from a thread; everything ends with the test."""
    started = []

    def start(commands, *, watch=True):
        supervisor = Supervisor(commands, os.environ, tmp_path / "logs")
        started.append(supervisor)
        supervisor.start()
        if watch:
            threading.Thread(target=supervisor.watch, daemon=True).start()
        return supervisor

    yield start
    for supervisor in started:
        supervisor.ask_to_stop()
        supervisor.stop()


def test_a_procfile_is_names_and_commands_in_order(tmp_path):
    procfile = tmp_path / "Procfile"
    procfile.write_text("# what runs\n\nweb: serve --at 127.0.0.1:80\nworker: work\n")
    assert list(read_procfile(procfile).items()) == [("web", "serve --at 127.0.0.1:80"), ("worker", "work")]


def test_stopping_ends_children_and_their_children(run, tmp_path):
    pid_file = tmp_path / "pid"
    supervisor = run({"parent": f"sh -c 'sleep 60 & echo $! > {pid_file}; wait'"})
    assert wait_for(lambda: pid_file.exists() and pid_file.read_text().strip())
    grandchild = int(pid_file.read_text())
    assert alive(grandchild)
    supervisor.ask_to_stop()
    supervisor.stop()
    assert wait_for(lambda: not alive(grandchild))
    assert supervisor.children[0].status() is not None


def test_a_child_that_ignores_the_polite_signal_is_killed_after_the_grace(run, monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor_module, "GRACE_S", 0.3)
    ready = tmp_path / "ready"
    supervisor = run({"deaf": f"sh -c 'trap \"\" TERM; touch {ready}; while :; do sleep 0.1; done'"})
    assert wait_for(ready.exists)
    supervisor.ask_to_stop()
    supervisor.stop()
    assert wait_for(lambda: supervisor.children[0].status() == -9)


def test_a_fallen_child_starts_again(run, monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor_module, "BACKOFF_S", (0.05,) * 5)
    count = tmp_path / "count"
    run({"shaky": f"sh -c 'echo x >> {count}; test $(wc -l < {count}) -ge 3 && sleep 60; exit 1'"})
    assert wait_for(lambda: count.exists() and len(count.read_text().split()) == 3)
    time.sleep(0.5)
    assert len(count.read_text().split()) == 3


def test_a_child_that_never_stays_up_ends_the_watch_with_its_last_words(run, monkeypatch):
    monkeypatch.setattr(supervisor_module, "BACKOFF_S", (0.01, 0.01))
    supervisor = run({"broken": "sh -c 'echo the disk is on fire; exit 3'"}, watch=False)
    with pytest.raises(Problem, match=r"(?s)fell 3 times.*status 3.*the disk is on fire"):
        supervisor.watch()


def test_a_child_that_asks_to_be_started_again_never_counts_as_fallen(run, monkeypatch, tmp_path):
    monkeypatch.setattr(supervisor_module, "BACKOFF_S", (0.0,))
    starts = tmp_path / "starts"
    enough = f"[ $(wc -l < {starts}) -gt 3 ] && exec sleep 60"
    run({"render": f"sh -c 'echo x >> {starts}; {enough}; exit {os.EX_TEMPFAIL}'"})
    assert wait_for(lambda: starts.exists() and len(starts.read_text().split()) == 4)


def test_a_fall_during_the_start_is_told_at_once(run):
    supervisor = run({"fine": "sleep 60", "broken": "sh -c 'echo no such database; exit 1'"}, watch=False)
    assert wait_for(lambda: supervisor.children[1].status() == 1 and supervisor.children[1].tail)
    with pytest.raises(Problem, match=r"(?s)broken ended with status 1.*no such database"):
        supervisor.demand_all_alive()


def test_what_a_child_says_is_in_its_log(run, tmp_path):
    run({"talker": "sh -c 'echo hello; sleep 60'"})
    log = tmp_path / "logs" / "talker.log"
    assert wait_for(lambda: log.read_text() == "hello\n")
