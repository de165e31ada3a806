"""What 500 waiting calls cost: memory, and the admission of others while they wait.

`python -m benchmarks.waiting` opens that many calls that nobody renders, then measures admission beside them against
admission without them, in one run.
"""

from __future__ import annotations

import argparse
import json
import resource
import selectors
import socket
import sys
import time
from collections.abc import Sequence

import django

from benchmarks import load, report
from benchmarks.admission.__main__ import CALL, row, wait_for_web
from benchmarks.stage import stage

WAIT_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiters", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    if missing := load.wrk_missing():
        sys.exit(missing)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    django.setup()
    with stage(env={"WAIT_TIMEOUT_S": str(WAIT_S)}) as ready:
        ready.service.start("web")
        wait_for_web(ready.service.url)
        url, tree = ready.service.url + CALL, ready.web_pid
        bodies = ready.bodies("metered")

        def admission() -> load.Load:
            return load.run(url, bodies, connections=16, seconds=options.seconds, tree=tree, work=ready.work)

        admission()
        before, memory_before = admission(), sum(load.memory_mib(tree))
        waiting = open_calls(ready.service.port, ready.bodies("unmetered", instant_response="no"), options.waiters)
        during, memory_during = admission(), sum(load.memory_mib(tree))
        answered = count_answered(waiting)
        after = admission()
    rows = [
        row("no one waits", 16, before, before) | {"web MiB": memory_before},
        row(f"{options.waiters} wait", 16, during, before) | {"web MiB": memory_during},
        row("no one waits again", 16, after, before) | {"web MiB": None},
    ]
    print(
        report.table(
            [{("of before" if key == "of empty" else key): value for key, value in one.items()} for one in rows]
        )
    )
    print(f"{answered} of the waiting calls were answered or refused while the others were admitted")
    print("written:", report.write("waiting", rows, waiters=options.waiters, answered_early=answered))


def open_calls(port: int, bodies: Sequence[str], count: int) -> list[socket.socket]:
    """That many connections, each with a call sent and its answer not yet come."""
    connections = []
    for number in range(count):
        body = json.dumps(json.loads(bodies[number % len(bodies)])).encode()
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        head = f"POST {CALL} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connections.append(connection)
    time.sleep(3)
    return connections


def count_answered(connections: Sequence[socket.socket]) -> int:
    """How many have got bytes; closes all."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        answered = len(selector.select(timeout=0.2))
    for connection in connections:
        connection.close()
    return answered


if __name__ == "__main__":
    main()
