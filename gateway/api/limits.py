"""The caller's limits in headers, on every reply of the generation routes."""

from __future__ import annotations

from datetime import datetime

from accounts.errors import DomainError
from gateway.api.authentication import Caller
from gateway.api.errors import answer_to
from gateway.api.parsing import Call
from gateway.errors import QueueFull, RateLimited
from gateway.limits import usage_now
from gateway.ratelimit import Decision, Uncounted, Usage


def limit_headers(numbers: Decision | Usage | Uncounted, *, now_epoch_s: int) -> dict[str, str]:
    """RateLimit-Reset is seconds from now, as the IETF draft on RateLimit header fields had it."""
    if isinstance(numbers, Uncounted):
        return {}
    limit = numbers.limit if isinstance(numbers, Decision) else numbers.per_minute
    if limit is None:
        return {}
    return {
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(numbers.remaining or 0),
        "RateLimit-Reset": str(max(numbers.reset_at_epoch_s - now_epoch_s, 0)),
    }


def usage_of(caller: Caller, *, now: datetime) -> Usage:
    """What the account has used of its limits; consumes nothing."""
    terms = caller.terms
    return usage_now(
        account_id=caller.account_id, per_minute=terms.calls_per_minute, queued=terms.queued_calls, now=now
    )


def foresee_refusal(caller: Caller, *, now: datetime) -> None:
    """Refuse before pictures are fetched what admission would refuse after. Raises RateLimited or QueueFull."""
    usage = usage_of(caller, now=now)
    if usage.remaining == 0:
        wait_s = max(usage.reset_at_epoch_s - int(now.timestamp()), 1)
        raise RateLimited(limit=usage.per_minute, retry_after_s=wait_s)
    if usage.queued_limit is not None and usage.queued >= usage.queued_limit:
        raise QueueFull(limit=usage.queued_limit, retry_after_s=2)


def refusal_headers(problem: DomainError, call: Call | None, *, limited_route: bool) -> dict[str, str]:
    """When to come back, and where the caller's limits stand."""
    status = answer_to(problem).status
    headers: dict[str, str] = {}
    retry_after_s = problem.fields.get("retry_after_s")
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    if call is None:
        return headers
    now_epoch_s = int(call.now.timestamp())
    decision = problem.fields.get("decision")
    if status == 429:
        resets_at = decision.reset_at_epoch_s if decision else now_epoch_s + (retry_after_s or 1)
        headers["X-RateLimit-Reset"] = str(resets_at)
    if decision:
        headers |= limit_headers(decision, now_epoch_s=now_epoch_s)
    elif limited_route and call.caller is not None:
        usage = usage_of(call.caller, now=call.now)
        headers |= limit_headers(usage, now_epoch_s=now_epoch_s)
    return headers
