"""A render worker as a process: `python -m inference.worker`. It needs a broker, storage and model files, no database.

Celery's thread pool hands each message to the process's engine and waits, so that acknowledgement stays plain Celery
while the engine shares its forwards between all of them.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import after_setup_logger, worker_ready, worker_shutting_down

from inference import worker_state
from inference.broker import HEARTBEAT_TASK, PROGRESS_TASK, configure, control_queue, render_queue
from inference.log_tail import tail
from inference.node import RenderNode
from inference.storage import get_storage

if TYPE_CHECKING:
    from inference.engine import Engine

SLOTS_DEFAULT = 8
# Threads beside the slots, so that a cancel gets through while every slot is busy.
CONTROL_THREADS = 2
# How a process ends that asks to be started again: no success, so that every kind of supervisor starts it.
RESTART_STATUS = os.EX_TEMPFAIL


def run_dir() -> Path:
    folder = Path(os.environ.get("RUN_DIR") or Path(__file__).resolve().parent.parent / ".run")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def worker_name() -> str:
    """RENDER_NAME, else the host's name: letters, digits and dashes."""
    chosen = os.environ.get("RENDER_NAME") or socket.gethostname()
    return re.sub(r"[^A-Za-z0-9-]+", "-", chosen)[:60] or "render"


app = Celery("inference")
configure(app, run_dir=run_dir())
app.autodiscover_tasks(["inference"])


@after_setup_logger.connect
def _keep_lines(logger: logging.Logger, **_: Any) -> None:
    logger.addHandler(tail)


@worker_ready.connect
def _announce(**_: Any) -> None:
    node = worker_state.node()
    for name, target, task in (
        ("heartbeat", node.heartbeat_forever, HEARTBEAT_TASK),
        ("progress", node.progress_forever, PROGRESS_TASK),
    ):
        threading.Thread(target=target, args=(task,), name=name, daemon=True).start()


@worker_shutting_down.connect
def _leave(**_: Any) -> None:
    """Stop taking work; what is under way is finished, what is not will be given to another by its lease."""
    node = worker_state.node()
    node.draining = True
    node.goodbye(HEARTBEAT_TASK)


def main() -> None:
    # In the main thread and before any task: diffusers' lazy imports are not safe between threads.
    # Threads that spin while they wait slow each other down many times over on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from inference.engine import Engine, EngineSettings

    app.set_default()
    serve(Engine(EngineSettings.from_environ()))


def serve(engine: Engine) -> None:
    """Work with `engine` until told to stop. SystemExit with RESTART_STATUS after a restart was asked for."""
    name, slots = worker_name(), int(os.environ.get("RENDER_SLOTS") or SLOTS_DEFAULT)
    serves = tuple(part for part in os.environ.get("RENDER_SERVES", "").split(",") if part)
    worker_state.node_set(
        RenderNode(name=name, slots=slots, engine=engine, storage=get_storage(), send=worker_state.send, serves=serves)
    )
    run: Callable[[list[str]], object] = app.worker_main
    run(
        [
            "worker",
            "--pool=threads",
            f"--concurrency={slots + CONTROL_THREADS}",
            f"--queues={render_queue(name)},{control_queue(name)}",
            f"--hostname={name}@%h",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
        ]
    )
    if worker_state.node().restarting:
        raise SystemExit(RESTART_STATUS)


if __name__ == "__main__":
    main()
