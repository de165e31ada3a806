"""What a call costs at the door, against an empty view on the same server in the same run.

`python -m benchmarks.admission` measures refused, unmetered and metered calls at 1, 16 and 64 connections, over many
accounts and over one. `--rows N` fills the usage and ledger tables with N rows first.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import django

from benchmarks import load, report
from benchmarks.admission.rows import fill
from benchmarks.stage import MANY, Stage, stage

CALL = "/api/v6/images/text2img"
KINDS = (("refused", MANY), ("unmetered", MANY), ("metered", MANY), ("metered", 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--rows", type=int, default=0, help="usage and ledger rows to begin with")
    options = parser.parse_args()
    if missing := load.wrk_missing():
        sys.exit(missing)
    django.setup()
    with stage() as ready:
        if options.rows:
            fill(ready.postgres.url, options.rows)
        ready.service.start("web")
        rows = measure(ready, options.connections, options.seconds)
    print(report.table(rows))
    name = f"admission-{options.rows}-rows" if options.rows else "admission"
    print("written:", report.write(name, rows, seconds=options.seconds, rows_before=options.rows))


def measure(ready: Stage, connections: list[int], seconds: int) -> list[dict[str, Any]]:
    url, tree = ready.service.url, ready.web_pid
    wait_for_web(url)
    rows = []
    for count in connections:
        load.run(url + "/api/empty", ["{}"], connections=count, seconds=2, tree=tree, work=ready.work)
        empty = load.run(url + "/api/empty", ["{}"], connections=count, seconds=seconds, tree=tree, work=ready.work)
        rows.append(row("empty view", count, empty, empty))
        for kind, accounts in KINDS:
            bodies = ready.bodies(kind, accounts=accounts)
            one = load.run(url + CALL, bodies, connections=count, seconds=seconds, tree=tree, work=ready.work)
            rows.append(row(kind if accounts > 1 else f"{kind}, one account", count, one, empty))
    return rows


def row(name: str, connections: int, one: load.Load, empty: load.Load) -> dict[str, Any]:
    return {
        "call": name,
        "connections": connections,
        "requests/s": one.requests_per_s,
        "of empty": one.requests_per_s / empty.requests_per_s,
        "p50 ms": one.p50_ms,
        "p99 ms": one.p99_ms,
        "cpu ms": one.cpu_ms_per_request,
        "statuses": " ".join(f"{status}:{count}" for status, count in sorted(one.statuses.items())),
    }


def wait_for_web(url: str) -> None:
    import time
    import urllib.request

    for _ in range(300):
        try:
            urllib.request.urlopen(url + "/health/live", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("The web process did not start in 30 s.")


if __name__ == "__main__":
    main()
