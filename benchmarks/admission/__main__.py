"""What a call costs at the door, against an empty view on the same server in the same run.

`python -m benchmarks.admission` measures refused, unmetered and metered calls at 1, 16 and 64 connections, over many
accounts and over one, and what a web process takes to start and to keep. The matrix is gone through several times, each
row warmed up first, and of each row the best round is kept, of the empty view's too: neighbours only ever take away.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import load, report
from benchmarks.report import Bar, at_least, at_most
from benchmarks.stage import CALL, MANY, Stage, stage

KINDS = (("refused", MANY), ("unmetered", MANY), ("metered", MANY), ("metered", 1))
WARM_UP_S = 2
# Milliseconds differ between machines more than twofold. The bars of 1.5 and 0.6 ms were set where an empty view takes
# 0.25 ms, so they are held against the empty view of the same run as well.
METERED_CPU_MS, REFUSED_CPU_MS, EMPTY_CPU_MS = 1.5, 0.6, 0.25
STARTS = 3
MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if missing := load.wrk_missing():
        sys.exit(missing)
    with stage() as ready:
        start_s = min(start_seconds(ready) for _ in range(STARTS))
        rounds = [measure(ready, options.connections, options.seconds) for _ in range(options.rounds)]
        worker_mb = max(load.memory_mib(ready.web_pid, shared=True)) * MIB / 1e6
    rows = rows_of([best(same) for same in zip(*rounds, strict=True)])
    bars = bars_of(rows, start_s=start_s, worker_mb=worker_mb)
    print(report.table(rows))
    print(report.bars(bars))
    facts = {"seconds": options.seconds, "rounds": options.rounds}
    print("written:", report.write("admission", rows, bars, **facts))


def start_seconds(ready: Stage) -> float:
    """From the command to the first answer; leaves the web process running."""
    if "web" in ready.service.processes:
        ready.service.stop("web")
    began = time.monotonic()
    ready.start_web()
    return time.monotonic() - began


def measure(ready: Stage, connections: list[int], seconds: int) -> list[tuple[str, int, load.Load]]:
    """Name, connections and figures of each row; in every group of connections the empty view comes first."""
    rows = []
    for count in connections:
        rows.append(("empty view", count, loaded(ready, "/api/empty", ["{}"], count, seconds)))
        for kind, accounts in KINDS:
            one = loaded(ready, CALL, ready.bodies(kind, accounts=accounts), count, seconds)
            rows.append((kind if accounts > 1 else f"{kind}, one account", count, one))
    return rows


def loaded(ready: Stage, path: str, bodies: list[str], connections: int, seconds: int) -> load.Load:
    def run(for_s: int) -> load.Load:
        url, tree = ready.service.url + path, ready.web_pid
        return load.run(url, bodies, connections=connections, seconds=for_s, tree=tree, work=ready.work)

    run(WARM_UP_S)
    return run(seconds)


def best(same: Sequence[tuple[str, int, load.Load]]) -> tuple[str, int, load.Load]:
    """The round with the most requests, with the least processor time of any round and every status that came."""
    name, connections, fastest = max(same, key=lambda row: row[2].requests_per_s)
    statuses = sum((Counter(one.statuses) for _, _, one in same), Counter[str]())
    cpu_ms = min(one.cpu_ms_per_request for _, _, one in same)
    return name, connections, replace(fastest, cpu_ms_per_request=cpu_ms, statuses=dict(statuses))


def rows_of(measured: Sequence[tuple[str, int, load.Load]]) -> list[dict[str, Any]]:
    empty = {connections: one for name, connections, one in measured if name == "empty view"}
    return [row(name, connections, one, empty[connections]) for name, connections, one in measured]


def row(name: str, connections: int, one: load.Load, empty: load.Load) -> dict[str, Any]:
    return {
        "call": name,
        "connections": connections,
        "requests/s": one.requests_per_s,
        "of empty": one.requests_per_s / empty.requests_per_s,
        "p50 ms": one.p50_ms,
        "p99 ms": one.p99_ms,
        "cpu ms": one.cpu_ms_per_request,
        "cpu of empty": one.cpu_ms_per_request / empty.cpu_ms_per_request,
        "statuses": " ".join(f"{status}:{count}" for status, count in sorted(one.statuses.items())),
    }


def bars_of(rows: list[dict[str, Any]], *, start_s: float, worker_mb: float) -> list[Bar]:
    by_row = {(one["call"], one["connections"]): one for one in rows}
    bars = [at_most("start of the web process, s", start_s, 3), at_most("memory of a web worker, MB", worker_mb, 120)]
    if metered := by_row.get(("metered", 16)):
        bars += cpu_bars("metered call at 16 connections", metered, METERED_CPU_MS)
        bars.append(at_least("metered call at 16 connections, of the empty view", metered["of empty"], 0.15))
        bars.append(at_least("the same, stretched", metered["of empty"], 0.30))
    if refused := by_row.get(("refused", 16)):
        bars += cpu_bars("refused call at 16 connections", refused, REFUSED_CPU_MS)
    if slowest := [one["p99 ms"] for (_, connections), one in by_row.items() if connections == 64]:
        bars.append(at_most("slowest p99 at 64 connections, ms", max(slowest), 500))
    broken = sum(" 5" in f" {one['statuses']}" for one in rows)
    return [*bars, at_most("rows with an answer of 5xx", broken, 0)]


def cpu_bars(name: str, one: dict[str, Any], bar_ms: float) -> list[Bar]:
    of_empty = at_most(f"{name}, CPU of the empty view's", one["cpu of empty"], bar_ms / EMPTY_CPU_MS)
    return [at_most(f"{name}, CPU ms", one["cpu ms"], bar_ms), of_empty]


if __name__ == "__main__":
    main()
