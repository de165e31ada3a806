"""What the CPU worker does. Each task may run twice and calls one service; render workers address them by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from gateway import webhooks_out
from gateway.audit import audit_due, audit_keep
from gateway.importing import imports_run
from gateway.notices import free_calls_tell
from gateway.services import deleting, generation_settle, retention
from gateway.services.leases import fault_note, leases_renew, outcomes_chase, render_failed_retry
from gateway.site import status, status_history
from inference.broker import HEARTBEAT_TASK, LOG_TASK, OUTCOME_TASK, PROGRESS_TASK
from inference.engine.spec import RenderResult
from inference.services import worker_log_told, worker_seen

WEBHOOKS_PER_RUN = 50
# Longer than a render worker takes to start, and than a report counts as fresh.
STATUS_ASKED_AGAIN_S = 20


@shared_task(name=OUTCOME_TASK, autoretry_for=(Exception,), max_retries=5, retry_backoff=True)
def outcome(generation_id: int, result: dict[str, Any]) -> None:
    """A render worker's report. A failure that another worker may avoid goes back to the queue instead."""
    now = timezone.now()
    parsed = RenderResult.from_dict(result)
    if parsed.failed:
        fault_note(generation_id=generation_id, result=parsed, now=now)
        # Kept there for the operator; the generation's own row is for its caller.
        parsed = replace(parsed, trace="")
    if parsed.failed and parsed.retryable and render_failed_retry(generation_id=generation_id, result=parsed, now=now):
        return
    generation_settle(generation_id=generation_id, result=parsed, now=now)


@shared_task(name=HEARTBEAT_TASK)
def heartbeat(name: str, report: dict[str, Any]) -> None:
    """A render worker lives; the attempts that it works on keep their leases."""
    now = timezone.now()
    worker_seen(name=name, report=report, now=now)
    leases_renew(worker=name, running=report.get("running", []), lease_s=settings.LEASE_S, now=now)
    outcomes_chase(worker=name, finished=report.get("finished", []))


@shared_task(name=PROGRESS_TASK)
def progress(name: str, running: list[dict[str, Any]]) -> None:
    """How far the renders are that somebody watches, between two heartbeats."""
    leases_renew(worker=name, running=running, lease_s=settings.LEASE_S, now=timezone.now())


@shared_task(name=LOG_TASK)
def worker_log(name: str, lines: list[str]) -> None:
    """The last lines of a render worker's log, which somebody asked for."""
    worker_log_told(name=name, lines=lines, now=timezone.now())


@shared_task(name="gateway.tasks.webhooks_send")
def webhooks_send() -> None:
    """Send what is due. The rows are the queue: this task is only the moment."""
    webhooks_out.webhook_send_due(timezone.now(), WEBHOOKS_PER_RUN)


@shared_task(name="gateway.tasks.books_prove")
def books_prove() -> None:
    now = timezone.now()
    if audit_due(now=now):
        audit_keep(now=now)


@shared_task(name="gateway.tasks.status_record")
def status_record(asked_again: bool = False) -> None:
    """Asks every part once a minute, whether or not anybody looks at the status page. What seems down is asked again
    before it is written down: a part that is just starting is no incident.
    """
    report = status.report(now=timezone.now())
    if report.state == "down" and not asked_again:
        status_record.apply_async(kwargs={"asked_again": True}, countdown=STATUS_ASKED_AGAIN_S)
        return
    status_history.record(report)


@shared_task(name="gateway.tasks.models_import")
def models_import() -> None:
    """Takes as long as the files are large; the worker's other threads go on."""
    imports_run()


@shared_task(name="gateway.tasks.retention")
def retention_run() -> None:
    """Delete prompts and pictures that are over their time, and for good what was deleted a week ago."""
    retention.retention_sweep(now=timezone.now())
    deleting.deleted_sweep(now=timezone.now())


@shared_task(name="gateway.tasks.notices")
def notices_run() -> None:
    """Mails about free calls that run out."""
    free_calls_tell(now=timezone.now())
