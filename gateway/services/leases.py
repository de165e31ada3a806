"""Leases of running generations: renewed by heartbeats, taken back when they run out, given up after some attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_noop as _

from gateway.services.settle import generation_abort
from gateway.wakeups import dispatcher_wake
from inference import render_control
from inference.engine.spec import RenderResult
from inference.models import Generation, GenerationState
from inference.selectors import leases_run_out, waiting_too_long
from inference.services import render_fault_note
from inference.states import generation_requeue, lease_renew

SWEEP_MAX = 200


def leases_renew(*, worker: str, running: Iterable[Mapping[str, Any]], lease_s: int, now: datetime) -> None:
    """Keep the leases of what `worker` works on; tell it to stop what is no longer its own."""
    for item in running:
        kept = lease_renew(
            generation_id=item["generation_id"],
            attempt=item["attempt"],
            lease_until=now + timedelta(seconds=lease_s),
            now=now,
            step=item.get("step", 0),
            steps=item.get("steps", 0),
        )
        if not kept:
            render_control.cancel(worker=worker, generation_id=item["generation_id"], attempt=item["attempt"])


def outcomes_chase(*, worker: str, finished: Sequence[Sequence[int]]) -> None:
    """Ask `worker` again for the outcomes that it has sent and that never arrived: pairs of id and attempt."""
    attempts = {generation_id: attempt for generation_id, attempt in finished}
    running = Generation.objects.filter(pk__in=attempts, state=GenerationState.RUNNING).values_list("pk", "attempt")
    missing = [[pk, attempt] for pk, attempt in running if attempts[pk] == attempt]
    if missing:
        render_control.repeat(worker=worker, outcomes=missing)


def render_failed_retry(*, generation_id: int, result: RenderResult, now: datetime) -> bool:
    """Back to the queue after a failure that another attempt may avoid; False when it must fail now."""
    generation = Generation.objects.filter(pk=generation_id).only("attempt", "state").first()
    if generation is None or generation.state != GenerationState.RUNNING:
        return False
    if generation.attempt != result.attempt:
        return True  # A newer attempt is under way: this old failure changes nothing.
    if generation.attempt >= settings.RENDER_ATTEMPTS_MAX:
        return False
    generation_requeue(generation_id=generation_id, attempt=result.attempt)
    dispatcher_wake()
    return True


def fault_note(*, generation_id: int, result: RenderResult, now: datetime) -> None:
    """Keep for the operator why an attempt failed, unless its caller cancelled it."""
    if result.error_code == "cancelled":
        return
    attempt = Generation.objects.filter(pk=generation_id, attempt=result.attempt)
    worker = attempt.values_list("worker", flat=True).first()
    render_fault_note(
        generation_id=generation_id,
        attempt=result.attempt,
        worker=worker or "",
        code=result.error_code,
        message=result.error_message,
        trace=result.trace,
        now=now,
    )


def leases_sweep(*, now: datetime) -> int:
    """Every lease that ran out: to another worker, or, after the last attempt, failed and released. How many."""
    swept = list(leases_run_out(now=now, limit=SWEEP_MAX))
    for generation in swept:
        render_fault_note(
            generation_id=generation.pk,
            attempt=generation.attempt,
            worker=generation.worker,
            code="lease_ran_out",
            message=f"{generation.worker} said nothing of it for {settings.LEASE_S} s.",
            now=now,
        )
        if generation.attempt < settings.RENDER_ATTEMPTS_MAX:
            generation_requeue(generation_id=generation.pk, attempt=generation.attempt)
        else:
            generation_abort(
                generation_id=generation.pk,
                error_code="render_lost",
                error_message=_("The picture could not be rendered: its render worker was lost several times."),
                now=now,
            )
    return len(swept)


def waiting_sweep(*, now: datetime) -> int:
    """Fail and release what no worker could take within GENERATION_EXPIRY_S; how many."""
    swept = list(
        waiting_too_long(created_before=now - timedelta(seconds=settings.GENERATION_EXPIRY_S), limit=SWEEP_MAX)
    )
    for generation in swept:
        generation_abort(
            generation_id=generation.pk,
            error_code="expired",
            error_message=_("No render worker could take this generation in time."),
            now=now,
        )
    return len(swept)
