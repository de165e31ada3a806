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

from benchmarks import load, report
from benchmarks.admission.__main__ import row
from benchmarks.report import at_least, at_most
from benchmarks.stage import CALL, stage

WAIT_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiters", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    if missing := load.wrk_missing():
        sys.exit(missing)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, max(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    with stage(env={"WAIT_TIMEOUT_S": str(WAIT_S)}) as ready:
        ready.start_web()
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
    # The machine's pace drifts: what the same calls did just before and just after is the measure.
    alone = (before.requests_per_s + after.requests_per_s) / 2
    alone_cpu_ms = (before.cpu_ms_per_request + after.cpu_ms_per_request) / 2
    rows = [
        row("no one waits", 16, before, before) | {"web MiB": memory_before},
        row(f"{options.waiters} wait", 16, during, before) | {"web MiB": memory_during},
        row("no one waits again", 16, after, before) | {"web MiB": None},
    ]
    renamed = {"of empty": "of before", "cpu of empty": "cpu of before"}
    rows = [{renamed.get(name, name): value for name, value in one.items()} for one in rows]
    bars = [
        at_most("waiting calls answered or refused early", answered, 0),
        at_least("requests/s beside them, of those without", during.requests_per_s / alone, 0.9),
        at_most("CPU of a call beside them, of one without", during.cpu_ms_per_request / alone_cpu_ms, 1.1),
        at_most("memory of all web processes, MiB", memory_during, 400),
    ]
    print(report.table(rows))
    print(report.bars(bars))
    print("written:", report.write("waiting", rows, bars, waiters=options.waiters, seconds=options.seconds))


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
