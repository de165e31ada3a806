"""Messages to render workers: work, and what to do with it. Sending is all; nothing here waits for an answer."""

from __future__ import annotations

from typing import Any

from celery import current_app

from inference.broker import CONTROL_TASK, RENDER_TASK, control_queue, render_queue


def render(*, worker: str, generation_id: int, attempt: int, spec: dict[str, Any]) -> None:
    """Hand an attempt to its leaseholder. A lost message is a lease that runs out."""
    current_app.send_task(RENDER_TASK, args=[generation_id, attempt, spec], queue=render_queue(worker), retry=False)


def repeat(*, worker: str, outcomes: list[list[int]]) -> None:
    """Ask for outcomes again: pairs of generation id and attempt."""
    _control(worker, "repeat", outcomes=outcomes)


def cancel(*, worker: str, generation_id: int, attempt: int) -> None:
    """Stop an attempt at its next step."""
    _control(worker, "cancel", generation_id=generation_id, attempt=attempt)


def evict(*, worker: str, model_id: str) -> None:
    _control(worker, "evict", model_id=model_id)


def preload(*, worker: str, model: dict[str, Any]) -> None:
    _control(worker, "preload", model=model)


def pin(*, worker: str, model_id: str, pinned: bool) -> None:
    _control(worker, "pin", model_id=model_id, pinned=pinned)


def drain(*, worker: str, draining: bool) -> None:
    _control(worker, "drain", draining=draining)


def restart(*, worker: str) -> None:
    """Finish or give back what is under way, then end the process: whatever supervises it starts it again."""
    _control(worker, "restart")


def log(*, worker: str, lines: int) -> None:
    """Ask for the last lines of its log; they come as a message."""
    _control(worker, "log", lines=lines)


def _control(worker: str, command: str, **arguments: Any) -> None:
    current_app.send_task(CONTROL_TASK, args=[command, arguments], queue=control_queue(worker), retry=False)
