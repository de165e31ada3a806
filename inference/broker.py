"""How processes reach the broker: the same settings for the gateway and for a render worker that knows nothing else.

Messages are acknowledged as they are taken: what a killed process had in hand is lost to the broker, on purpose. Work
comes back by its lease and outcomes by the render worker's own memory (docs/decisions/0005), both sooner than by a
broker's redelivery and without its faults. Without a broker there are files: Celery's filesystem transport.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as redis_transport

OUTCOME_QUEUE = "outcomes"
DEFAULT_QUEUE = "default"
OUTCOME_TASK = "gateway.tasks.outcome"
HEARTBEAT_TASK = "gateway.tasks.heartbeat"
PROGRESS_TASK = "gateway.tasks.progress"
LOG_TASK = "gateway.tasks.worker_log"
RENDER_TASK = "inference.tasks.render"
CONTROL_TASK = "inference.tasks.control"
# Only messages that wait for a free thread are unacknowledged, and every task may run twice.
VISIBILITY_TIMEOUT_S = 60

TRANSPORT_ALIASES["filesystem"] = "inference.file_transport:Transport"
TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "inference.redis_transport:Transport"


def render_queue(worker: str) -> str:
    """Each render worker takes work from a queue of its own name."""
    return f"render.{worker}"


def control_queue(worker: str) -> str:
    return f"control.{worker}"


def broker_url() -> str:
    return os.environ.get("BROKER_URL") or os.environ.get("REDIS_URL") or "filesystem://localhost//"


def configure(app: Celery, *, run_dir: Path) -> None:
    url = broker_url()
    settings: dict[str, Any] = {
        "broker_url": url,
        "broker_connection_retry_on_startup": True,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": DEFAULT_QUEUE,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "task_acks_late": False,
        "broker_transport_options": _transport_options(url, run_dir),
    }
    app.conf.update(settings)


def _transport_options(url: str, run_dir: Path) -> dict[str, Any]:
    if url.startswith("filesystem"):
        folder = run_dir / "broker"
        folder.mkdir(parents=True, exist_ok=True)
        control = run_dir / "broker-control"
        control.mkdir(parents=True, exist_ok=True)
        return {
            "data_folder_in": str(folder),
            "data_folder_out": str(folder),
            "control_folder": str(control),
            "polling_interval": 0.05,
        }
    if url.startswith("redis"):
        # On a broken connection kombu 5.7 would give back untaken messages through a client that is closed already, and
        # the worker would end with an AttributeError. They come back after the visibility timeout anyway.
        redis_transport.QoS.restore_at_shutdown = False
        return {
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
        }
    return {}
