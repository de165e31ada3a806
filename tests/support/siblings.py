"""Processes that do the same thing at the same moment. One loads the project and forks them: each would take a second.

A module that has such a thing to do ends in `siblings_run(work)`; `siblings(module, ...)` starts it and collects what
each of its processes returns.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 100.0
Start = Callable[[], Any]


def siblings(module: str, task: Mapping[str, Any], *, count: int, env: Mapping[str, str] | None = None) -> list[Any]:
    """What each of `count` processes returned for the same task. Raises CalledProcessError when one of them failed."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=PROJECT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "gateway.settings", **(env or {})},
        input=json.dumps({"task": task, "count": count}),
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def siblings_run(work: Callable[[Any, Start], Any]) -> None:
    """The program: in every sibling `work(task, start)` gets ready, calls `start()` and goes on with all others."""
    import django

    django.setup()
    # Loaded before the fork, and with it nearly all that the siblings use. No connection is open yet.
    import gateway.services  # noqa: F401

    asked = json.load(sys.stdin)
    context = multiprocessing.get_context("fork")
    line = context.Barrier(asked["count"])
    with context.Pool(asked["count"], initializer=_start_line.append, initargs=(line,)) as pool:
        told = pool.map(functools.partial(_work, work), [asked["task"]] * asked["count"], chunksize=1)
    print(json.dumps(told))


_start_line: list[Any] = []


def _work(work: Callable[[Any, Start], Any], task: Any) -> Any:
    """Who fails before the start lets no one wait for it."""
    line = _start_line[0]
    try:
        return work(task, line.wait)
    except BaseException:
        line.abort()
        raise
