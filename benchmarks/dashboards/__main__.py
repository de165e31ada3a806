"""Server time of the pages that read the largest tables, on a PostgreSQL of its own.

`python -m benchmarks.dashboards` fills every part's tables and times its pages; `python -m benchmarks.dashboards usage
--rows 5000000` does one part with another number of rows. A page's time is all of Django's work for it, from the
request to the last byte of the answer, with every middleware and without a network; the first call stands apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

from benchmarks import report
from tests.support.servers import PostgresServer, running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="names of parts; all when none is named")
    parser.add_argument("--rows", type=int, default=0, help="rows of each part in place of its own number")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(PostgresServer) as postgres:
        os.environ |= {
            "DATABASE_URL": postgres.url,
            "RUN_DIR": folder,
            "LOG_LEVEL": "ERROR",
            "STATIC_ROOT": f"{folder}/static",
        }
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
        from benchmarks.dashboards.measure import measure  # Django reads the environment when it is imported

        rows = measure(postgres.url, options.parts, options.rows, options.repeats)
    print(report.table(rows))
    bars = [report.at_most(f"{row['page']}, p95 ms", row["p95 ms"], row["bar ms"]) for row in rows]
    print("written:", report.write("dashboards", rows, bars, repeats=options.repeats))
    late = [bar.figure for bar in bars if not bar.met]
    if late:
        sys.exit(f"Over the bar: {'; '.join(late)}")


if __name__ == "__main__":
    main()
