"""How processes reach the broker: the same settings for the gateway and for a render worker that knows nothing else.

Without a broker there are files: Celery's filesystem transport, acknowledged early because late acknowledgement on it
is slow. It may lose what a killed process had taken; so may any broker, and the lease in the database covers both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

OUTCOME_QUEUE = "outcomes"
DEFAULT_QUEUE = "default"
OUTCOME_TASK = "gateway.tasks.outcome"
HEARTBEAT_TASK = "gateway.tasks.heartbeat"
RENDER_TASK = "inference.tasks.render"
CONTROL_TASK = "inference.tasks.control"

TRANSPORT_ALIASES["filesystem"] = "inference.file_transport:Transport"


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
        "task_acks_late": not url.startswith("filesystem"),
        "task_reject_on_worker_lost": True,
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
        # Messages of a killed worker come back in about ten seconds instead of 85 (kombu 5.7).
        return {
            "visibility_timeout": 3600,
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
        }
    return {}
