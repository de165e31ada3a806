"""Makes the database, the catalogue, the demo account and the static files ready; prints the account as one JSON line.

`make run` calls it with the environment's Python. Every step may be repeated: what stands is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import django
from django.core.management import CommandError, call_command
from django.db import OperationalError

from tools.environment import ROOT, RUNTIME
from tools.problems import Problem, exit_with_sentence
from tools.progress import Step


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    django.setup()
    with _in_words():
        _step("Bringing the database up to date", "migrate", interactive=False)
        _step("Loading the catalogue, plans and prices", "catalogue_load")
        account = _demo_account()
        _collect_static_files()
    print(json.dumps(account))
    return 0


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Failures of the outside world as sentences; anything else is a bug and keeps its trace."""
    from django.conf import settings

    try:
        yield
    except OperationalError as error:
        database = settings.DATABASES["default"]
        place = f"{database.get('HOST') or ''} {database.get('NAME')}".strip()
        raise Problem(f"The database ({place}) does not answer: {str(error).strip()}") from error
    except CommandError as error:
        raise Problem(str(error)) from error


def _step(title: str, command: str, **options: object) -> str:
    said = io.StringIO()
    with Step(title):
        call_command(command, stdout=said, **options)
    return said.getvalue()


def _demo_account() -> dict[str, str]:
    from django.conf import settings

    from accounts.addresses import site_url

    account: dict[str, str] = json.loads(_step("Making the demo account", "demo_account").splitlines()[-1])
    return {**account, "url": site_url(), "model_id": settings.DEFAULT_MODEL_ID}


def _collect_static_files() -> None:
    """Collecting compresses every file anew, so it is done only when one has changed."""
    from django.conf import settings

    stamp = Path(settings.STATIC_ROOT) / ".collected"
    state = _state_of_static_files()
    if stamp.exists() and stamp.read_text() == state:
        return
    _step("Collecting static files", "collectstatic", interactive=False, clear=True)
    stamp.write_text(state)


def _state_of_static_files() -> str:
    """Changes with every file of static/ and with the packages, which bring files of their own."""
    files = sorted(path for path in (ROOT / "static").rglob("*") if path.is_file())
    seen = [f"{path.relative_to(ROOT)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join([RUNTIME.read_text(), *seen]).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(exit_with_sentence(main))
