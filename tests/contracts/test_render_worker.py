"""A render worker runs on machines of strangers: it has no database and no secret of the gateway."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PROBE = """
import sys
import inference.worker, inference.tasks, inference.node, inference.storage
unwanted = {"django.db", "psycopg", "sqlite3", "stripe", "gateway", "billing", "accounts"}
print(",".join(sorted(unwanted & set(sys.modules))))
"""


def test_it_starts_with_nothing_but_a_folder_and_imports_no_database(tmp_path):
    bare = {"PATH": os.environ["PATH"], "RUN_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=PROJECT, env=bare, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
    assert not list(tmp_path.glob("*.sqlite3"))


def test_the_procfile_takes_every_secret_from_it():
    line = next(line for line in (PROJECT / "Procfile").read_text().splitlines() if line.startswith("render:"))
    for secret in ("DATABASE_URL", "SECRET_KEY", "API_KEY_PEPPER", "STRIPE_API_KEY"):
        assert f"-u {secret}" in line
