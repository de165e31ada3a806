"""How long the proof of the books takes when they are long, on SQLite and on PostgreSQL.

`python -m benchmarks.books` writes a million ledger entries with their holds, generations and roll-ups, and then runs
`manage.py audit` as the operator does. `--entries N` takes another number.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import report
from tests.support.servers import PostgresServer, running
from tests.support.service import PROJECT, Service

BUDGET_S = 30
TIMEOUT_S = 1800
_EACH_CHECK = """
import json, time
from billing.audit import CHECKS, audit_run
from gateway.audit import CROSS_CHECKS
took = {}
for check in (*CHECKS, *CROSS_CHECKS):
    began = time.perf_counter()
    assert audit_run([check])[0].passed, check.name
    took[check.name] = time.perf_counter() - began
print("TOOK=" + json.dumps(took))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgres"], help="sqlite, postgres, or both")
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    rows = [measure(name, options.entries) for name in options.databases]
    print(report.table(rows))
    print("written:", report.write("books", rows, entries=options.entries, budget_s=BUDGET_S))
    if any(row["audit s"] > BUDGET_S for row in rows):
        sys.exit(f"Over {BUDGET_S} s.")


def measure(database: str, entries: int) -> dict[str, Any]:
    with installation(database) as service:
        _python(service, "manage.py", "migrate", "-v", "0")
        made = int(_python(service, "-m", "benchmarks.books.history", str(entries)))
        began = time.perf_counter()
        proof = _python(service, "manage.py", "audit")
        took_s = time.perf_counter() - began
        assert proof.endswith("0 differences"), proof
        each = json.loads(_python(service, "manage.py", "shell", "-c", _EACH_CHECK).rpartition("TOOK=")[2])
    slowest = max(each, key=lambda name: each[name])
    return {
        "database": database,
        "entries": made,
        "checks": len(each),
        "audit s": round(took_s, 1),
        "slowest s": round(each[slowest], 1),
        "slowest check": slowest,
    }


@contextlib.contextmanager
def installation(database: str) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        postgres = stack.enter_context(running(PostgresServer)) if database == "postgres" else None
        yield Service(Path(folder), env={"DATABASE_URL": postgres.url} if postgres else {})


def _python(service: Service, *arguments: str) -> str:
    env = service.env | {"DJANGO_SETTINGS_MODULE": "gateway.settings", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:3])}{os.linesep}{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
