"""What a call costs when millions were made before: two services that differ in that alone, measured in turn.

`python -m benchmarks.volume` fills the tables that a call writes with 10 thousand and with 5 million rows, then sends
metered calls now to the one and now to the other, and counts the processor time of web and PostgreSQL together.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

from benchmarks import load, report
from benchmarks.report import at_most
from benchmarks.stage import CALL, Stage, stage
from benchmarks.volume.rows import fill

CONNECTIONS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs=2, default=[10_000, 5_000_000], metavar=("FEW", "MANY"))
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if missing := load.wrk_missing():
        sys.exit(missing)
    with stage() as few, stage() as many:
        stages = dict(zip(options.rows, (few, many), strict=True))
        sizes = {rows: fill(one.postgres.url, rows) for rows, one in stages.items()}
        for one in stages.values():
            one.start_web()
        loads: dict[int, list[load.Load]] = {rows: [] for rows in stages}
        for number in range(options.rounds + 1):
            for rows, one in stages.items():
                measured = metered(one, options.seconds)
                if number:  # the first round warms up
                    loads[rows].append(measured)
    table = [row(rows, loads[rows], sizes[rows]) for rows in stages]
    costs = [one["cpu ms, web and database"] for one in table]
    bars = [
        at_most("a call's CPU with many rows, of that with few", costs[1] / costs[0], 1.15),
        at_most("a usage row with its indexes, bytes", table[1]["hold bytes"], 300),
        at_most("a ledger row with its indexes, bytes", table[1]["ledger entry bytes"], 300),
    ]
    print(report.table(table))
    print(report.bars(bars))
    print("written:", report.write("volume", table, bars, seconds=options.seconds, rounds=options.rounds))


def metered(one: Stage, seconds: int) -> load.Load:
    assert one.postgres.process is not None
    trees = (one.web_pid, one.postgres.process.pid)
    url, bodies = one.service.url + CALL, one.bodies("metered")
    return load.run(url, bodies, connections=CONNECTIONS, seconds=seconds, tree=trees, work=one.work)


def row(rows: int, loads: list[load.Load], sizes: dict[str, float]) -> dict[str, Any]:
    return {
        "rows before": rows,
        "requests/s": statistics.median(one.requests_per_s for one in loads),
        "p50 ms": statistics.median(one.p50_ms for one in loads),
        "p99 ms": statistics.median(one.p99_ms for one in loads),
        "cpu ms, web and database": statistics.median(one.cpu_ms_per_request for one in loads),
        "hold bytes": sizes["billing_hold"],
        "ledger entry bytes": sizes["billing_ledgerentry"],
    }


if __name__ == "__main__":
    main()
