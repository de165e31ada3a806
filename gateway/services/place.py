"""Admission: limits, then one transaction with one commit, then a nudge to the dispatcher.

Refused means that nothing was written and nothing is consumed, not even a token of another limit.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from billing.errors import PriceMissing
from billing.guarded import ONE_STATEMENT, Insert
from billing.holds import hold_place
from billing.pricing import price_in_force
from gateway.caching import TtlCache
from gateway.errors import CallsPaused, IdempotencyConflict, QueueFull, RateLimited
from gateway.features import feature_on
from gateway.ids import generation_id_new
from gateway.limits import limit_scopes, limiter
from gateway.models import Feature, IdempotencyRecord
from gateway.ratelimit import Decision, Uncounted
from gateway.ratelimit.decision import all_limits
from gateway.recount import recount, recount_needed
from gateway.services.key_days import key_day_count
from gateway.wakeups import dispatcher_wake
from inference.models import Generation
from inference.selectors import generation_of
from inference.services import NewGeneration, generation_row, generation_written

if TYPE_CHECKING:
    from gateway.api.authentication import Caller
    from gateway.api.orders import GenerationOrder

# A key may be used again after a day; the sweep deletes records when they are older.
IDEMPOTENCY_TTL = timedelta(hours=24)
# When a client may ask again whether the operator has switched calls on.
PAUSED_RETRY_AFTER_S = 60
_prices: TtlCache[tuple[str, int], int | None] = TtlCache()


@dataclass(frozen=True, slots=True)
class Placement:
    """An accepted call: its generation, what pays for it, and the limiter's numbers for the reply's headers.

    `created` is False when an idempotency key found the generation of an earlier call: such a call is not counted.
    """

    generation: Generation
    created: bool
    decision: Decision | Uncounted


def generation_place(
    *, caller: Caller, order: GenerationOrder, idempotency_key: str | None, now: datetime
) -> Placement:
    """Admit one call. Raises the refusals of the operator, the key, the limits, the price, the plan and the funds."""
    if not feature_on(Feature.CALLS):
        raise CallsPaused(retry_after_s=PAUSED_RETRY_AFTER_S)
    caller.require_model(order.model.model_id)
    unit_price_microusd = _price(caller, order)
    generation_id = generation_id_new(now)
    found = _pass_limits(caller, generation_id, now)
    try:
        recounts = recount_needed(found)
        several = recounts or idempotency_key is not None or caller.key.calls_per_day is not None
        with _one_commit(several=several):
            earlier = _idempotent(caller, order, idempotency_key, generation_id, now) if idempotency_key else None
            decision = _recount(caller, now) if recounts and not earlier else found
            generation = earlier or _write(caller, order, generation_id, unit_price_microusd, now)
    except BaseException as problem:
        limiter().give_back(_scopes(caller), str(generation_id))
        if isinstance(problem, IntegrityError) and "inference_generation" in str(problem):
            # Two calls of one millisecond drew the same id: this one draws again.
            return generation_place(caller=caller, order=order, idempotency_key=idempotency_key, now=now)
        raise
    if earlier:
        limiter().give_back(_scopes(caller), str(generation_id))
    else:
        dispatcher_wake()
    return Placement(generation=generation, created=not earlier, decision=decision)


def _one_commit(*, several: bool) -> AbstractContextManager[None]:
    """A transaction around several statements."""
    return transaction.atomic() if several or not ONE_STATEMENT else nullcontext()


def _price(caller: Caller, order: GenerationOrder) -> int:
    code, account_id, now = order.model.price_code, caller.account_id, order.received_at
    price = _prices.get((code, account_id), lambda: price_in_force(price_code=code, account_id=account_id, now=now))
    if price is None:
        raise PriceMissing(model_id=order.model.model_id)
    return price


def _scopes(caller: Caller) -> list[str]:
    return limit_scopes(account_id=caller.account_id, key_id=caller.key_id)


def refusal_recall(*, caller: Caller, now: datetime) -> None:
    """Refuse again, before the call is even read, whom the minute limit refused a moment ago. Raises RateLimited."""
    decision = limiter().recall(
        scope=_scopes(caller)[0],
        now_ms=int(now.timestamp() * 1000),
        per_minute=caller.terms.calls_per_minute,
        extra=_key_limits(caller),
    )
    if decision is not None:
        raise RateLimited(limit=decision.limit, retry_after_s=decision.retry_after_s, decision=decision)


def _key_limits(caller: Caller) -> tuple[tuple[str, int | None, int | None], ...]:
    """What the key itself may do; nothing for a key without limits of its own."""
    key = caller.key
    if key.calls_per_minute is None and key.queued_calls is None:
        return ()
    return ((_scopes(caller)[1], key.calls_per_minute, key.queued_calls),)


def _pass_limits(caller: Caller, generation_id: int, now: datetime) -> Decision | Uncounted:
    """All limits of the account and the key together, in one step. Raises RateLimited or QueueFull."""
    terms = caller.terms
    found = limiter().admit(
        scope=_scopes(caller)[0],
        token=str(generation_id),
        now_ms=int(now.timestamp() * 1000),
        per_minute=terms.calls_per_minute,
        queued=terms.queued_calls,
        lease_s=settings.GENERATION_EXPIRY_S + settings.LEASE_S * settings.RENDER_ATTEMPTS_MAX,
        extra=_key_limits(caller),
    )
    return found if isinstance(found, Uncounted) else _obey(found, caller)


def _recount(caller: Caller, now: datetime) -> Decision:
    """The same from the account's rows. Raises RateLimited or QueueFull."""
    terms = caller.terms
    limits = all_limits(_scopes(caller)[0], terms.calls_per_minute, terms.queued_calls, _key_limits(caller))
    return _obey(recount(account_id=caller.account_id, key_id=caller.key_id, limits=limits, now=now), caller)


def _obey(decision: Decision, caller: Caller) -> Decision:
    if decision.allowed:
        return decision
    if decision.refused_by == "queued":
        of_key = decision.scope == _scopes(caller)[1]
        limit = caller.key.queued_calls if of_key else caller.terms.queued_calls
        raise QueueFull(limit=limit, retry_after_s=decision.retry_after_s, decision=decision)
    raise RateLimited(limit=decision.limit, retry_after_s=decision.retry_after_s, decision=decision)


def _idempotent(
    caller: Caller, order: GenerationOrder, key: str, generation_id: int, now: datetime
) -> Generation | None:
    """Claim the key for this call (None), or find the generation it stands for. Raises IdempotencyConflict."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO gateway_idempotencyrecord (account_id, key, body_digest, generation_id, created_at)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (account_id, key) DO NOTHING",
            [
                caller.account_id,
                key,
                order.body_digest,
                generation_id,
                connection.ops.adapt_datetimefield_value(now),
            ],
        )
        if cursor.rowcount == 1:
            return None
    record = IdempotencyRecord.objects.get(account_id=caller.account_id, key=key)
    if record.body_digest != order.body_digest:
        raise IdempotencyConflict(key=key)
    return generation_of(account_id=caller.account_id, generation_id=record.generation_id)


def _write(
    caller: Caller, order: GenerationOrder, generation_id: int, unit_price_microusd: int, now: datetime
) -> Generation:
    terms = caller.terms
    if caller.key.calls_per_day is not None:
        key_day_count(key_id=caller.key_id, limit=caller.key.calls_per_day, now=now)

    new = NewGeneration(
        id=generation_id,
        account_id=caller.account_id,
        key_id=caller.key_id,
        endpoint=order.endpoint,
        api_version=order.api_version,
        plan_code=terms.plan_code,
        unit_price_microusd=unit_price_microusd,
        weight=terms.weight,
        spec=order.spec,
        asked=order.asked,
        reply=order.reply if terms.charge_flagged_images else order.reply | {"charge_flagged": False},
        webhook_url=order.webhook_url or "",
        track_id=order.track_id,
        created_at=now,
    )
    row = generation_row(new)
    reservation = hold_place(
        reference=generation_id,
        account_id=caller.account_id,
        terms=terms,
        price_code=order.model.price_code,
        model_id=order.model.model_id,
        unit_price_microusd=unit_price_microusd,
        images=order.spec.samples,
        now=now,
        key_id=caller.key_id,
        key_budget_microusd=caller.key.budget_microusd,
        dependent=lambda source: [Insert("inference_generation", row | {"funding": source.value})],
    )
    return generation_written(new, row, funding=reservation.source.value)
