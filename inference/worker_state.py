"""The one RenderNode of this process, and how it sends messages."""

from __future__ import annotations

from typing import Any

from celery import current_app

from inference.broker import OUTCOME_QUEUE
from inference.node import RenderNode

_nodes: list[RenderNode] = []
# A broker that is away for a while delays an outcome; after that the lease runs out and the work is done again.
RETRY = {"max_retries": 12, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 5}


def node_set(node: RenderNode) -> None:
    _nodes[:] = [node]


def node() -> RenderNode:
    return _nodes[0]


def send(task: str, args: list[Any]) -> None:
    current_app.send_task(task, args=args, queue=OUTCOME_QUEUE, retry=True, retry_policy=RETRY)
