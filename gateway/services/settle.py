"""The end of a generation: outcome, money, roll-up and webhook in one transaction, exactly once.

An outcome may arrive twice, late, or after an abort. The conditional move of the generation's state decides who wins;
the hold's own conditional move is the second lock on the same door.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext_noop as _
from kombu.exceptions import OperationalError

from billing.holds import Closing, hold_capture, hold_release
from billing.usage import SettledCall, usage_record
from gateway.limits import limit_scopes, limiter
from gateway.wakeups import dispatcher_wake, finished_announce
from gateway.webhooks_out import generation_webhook_queue
from inference import render_control
from inference.engine.spec import RenderedImage, RenderResult
from inference.models import Generation, GenerationState
from inference.selectors import generation_of
from inference.states import generation_finish

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a generation ends: its state, what the client is told, and what was measured."""

    state: GenerationState
    error_code: str = ""
    error_message: str = ""
    result: RenderResult | None = None


def generation_settle(*, generation_id: int, result: RenderResult, now: datetime) -> bool:
    """Settle by a render worker's report; True when this call did it.

    Delivered pictures are charged, also when the safety checker blanked them (unless the plan says otherwise); what is
    missing of `samples` is released.
    """
    if result.failed:
        ending = Ending(
            state=GenerationState.FAILED,
            error_code=result.error_code or "render_failed",
            error_message=result.error_message or _("The picture could not be rendered."),
            result=result,
        )
    else:
        ending = Ending(state=GenerationState.SUCCEEDED, result=result)
    return _end(generation_id, ending, now)


def generation_abort(*, generation_id: int, error_code: str, error_message: str, now: datetime) -> bool:
    """Give up on a generation that no worker could render; its hold is released."""
    ending = Ending(state=GenerationState.FAILED, error_code=error_code, error_message=error_message)
    return _end(generation_id, ending, now)


def generation_cancel(*, account_id: int, generation_id: int, now: datetime) -> bool:
    """Cancel at the owner's wish; True when this call did it. A settled generation stays as it is.

    Its render worker stops at the next step. Raises GenerationNotFound for a stranger's.
    """
    generation_of(account_id=account_id, generation_id=generation_id)
    ending = Ending(
        state=GenerationState.CANCELLED, error_code="cancelled", error_message=_("This generation was cancelled.")
    )
    cancelled = _end(generation_id, ending, now)
    if cancelled:
        _stop_rendering(generation_id)
    return cancelled


def _stop_rendering(generation_id: int) -> None:
    """Tell the leaseholder. One that does not hear it learns from its next heartbeat that the lease is lost."""
    worker, attempt = Generation.objects.values_list("worker", "attempt").get(pk=generation_id)
    if not worker:
        return
    try:
        render_control.cancel(worker=worker, generation_id=generation_id, attempt=attempt)
    except (OperationalError, OSError) as problem:
        logger.warning("Worker %s could not be told to stop generation %s: %s", worker, generation_id, problem)


def _end(generation_id: int, ending: Ending, now: datetime) -> bool:
    with transaction.atomic():
        generation = Generation.objects.filter(pk=generation_id).defer("asked", "result").first()
        if generation is None or generation.settled:
            return False
        closing = _close_hold(generation, ending, now)
        if closing is None or not _finish(generation, ending, closing, now):
            transaction.set_rollback(True)
            return False
        usage_record(_settled_call(generation, ending, closing), now=now)
        generation_webhook_queue(generation=generation, now=now)
    _after(generation)
    return True


def _close_hold(generation: Generation, ending: Ending, now: datetime) -> Closing | None:
    """None when somebody else has closed it: then somebody else has settled this generation too."""
    if ending.state != GenerationState.SUCCEEDED or ending.result is None:
        return hold_release(reference=generation.pk)
    return hold_capture(reference=generation.pk, images=_chargeable(generation, ending.result.images), now=now)


def _finish(generation: Generation, ending: Ending, closing: Closing, now: datetime) -> bool:
    """Move the row and the object in hand together; False when somebody else has settled it."""
    outcome = {
        "started_at": generation.started_at or _started_at(generation, ending, now),
        "images_delivered": len(ending.result.images) if ending.result else 0,
        "charged_microusd": closing.charged_microusd,
        "result": ending.result.to_dict() if ending.result else None,
        "error_code": ending.error_code,
        "error_message": ending.error_message[:1000],
    }
    if not generation_finish(generation_id=generation.pk, state=ending.state, now=now, **outcome):
        return False
    generation.state, generation.finished_at = ending.state, now
    for name, value in outcome.items():
        setattr(generation, name, value)
    return True


def _started_at(generation: Generation, ending: Ending, now: datetime) -> datetime | None:
    """When a render began that ended before its first heartbeat; None when it did not say how long it took."""
    if ending.result is None or not ending.result.run_ms:
        return None
    return max(generation.created_at, now - timedelta(milliseconds=ending.result.run_ms))


def _chargeable(generation: Generation, images: tuple[RenderedImage, ...]) -> int:
    if generation.reply.get("charge_flagged", True):
        return len(images)
    return sum(not image.flagged for image in images)


def _settled_call(generation: Generation, ending: Ending, closing: Closing) -> SettledCall:
    result = ending.result
    return SettledCall(
        account_id=generation.account_id,
        key_id=generation.key_id,
        model_id=generation.model_id,
        endpoint=generation.endpoint,
        plan_code=generation.plan_code,
        source=generation.funding,
        status=generation.state,
        size=f"{generation.width_px}x{generation.height_px}",
        images=generation.images_delivered,
        amount_microusd=closing.charged_microusd,
        list_price_microusd=generation.unit_price_microusd * generation.images_delivered,
        wait_ms=_waited_ms(generation),
        run_ms=result.run_ms if result else 0,
        gpu_time_ms=result.gpu_time_ms if result else 0,
    )


def _waited_ms(generation: Generation) -> int:
    """From its admission until its render began, in whichever queue; 0 for what never began."""
    if generation.started_at is None:
        return 0
    return max(round((generation.started_at - generation.created_at).total_seconds() * 1000), 0)


def _after(generation: Generation) -> None:
    """What only saves time, after the commit: the queued place, the waiting request, the next assignment."""
    limiter().finished(limit_scopes(account_id=generation.account_id, key_id=generation.key_id), str(generation.pk))
    finished_announce([generation.pk])
    dispatcher_wake()
