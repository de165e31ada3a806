"""What a render worker does: render, and obey. No ORM, no Django; the process's one RenderNode does the work."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from inference import worker_state
from inference.broker import CONTROL_TASK, OUTCOME_TASK, RENDER_TASK
from inference.engine.spec import RenderSpec


@shared_task(name=RENDER_TASK)
def render(generation_id: int, attempt: int, spec: dict[str, Any]) -> None:
    """Render an attempt that this worker was given a lease for, and report."""
    node = worker_state.node()
    result = node.render(generation_id, attempt, RenderSpec.from_dict(spec))
    if result is not None:
        worker_state.send(OUTCOME_TASK, [generation_id, result.to_dict()])


@shared_task(name=CONTROL_TASK)
def control(command: str, arguments: dict[str, Any]) -> None:
    worker_state.node().control(command, arguments)
