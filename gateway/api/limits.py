"""The caller's limits in headers, on every reply of the generation routes."""

from __future__ import annotations

from accounts.errors import DomainError
from gateway.api.authentication import Caller
from gateway.api.errors import answer_to
from gateway.api.parsing import Call
from gateway.errors import QueueFull, RateLimited
from gateway.limits import limit_scopes, limiter
from gateway.ratelimit import Decision, Usage


def limit_headers(numbers: Decision | Usage, *, now_epoch_s: int) -> dict[str, str]:
    """RateLimit-Reset is seconds from now, as the IETF draft on RateLimit header fields had it."""
    limit = numbers.limit if isinstance(numbers, Decision) else numbers.per_minute
    if limit is None:
        return {}
    return {
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(numbers.remaining or 0),
        "RateLimit-Reset": str(max(numbers.reset_at_epoch_s - now_epoch_s, 0)),
    }


def usage_of(caller: Caller, *, now_ms: int) -> Usage:
    """What the account has used of its limits; consumes nothing."""
    return limiter().peek(
        scope=limit_scopes(account_id=caller.account_id, key_id=caller.key_id)[0],
        now_ms=now_ms,
        per_minute=caller.terms.calls_per_minute,
        queued=caller.terms.queued_calls,
    )


def foresee_refusal(caller: Caller, *, now_ms: int) -> None:
    """Refuse before pictures are fetched what admission would refuse after. Raises RateLimited or QueueFull."""
    usage = usage_of(caller, now_ms=now_ms)
    if usage.remaining == 0:
        wait_s = max(usage.reset_at_epoch_s - now_ms // 1000, 1)
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
        usage = usage_of(call.caller, now_ms=int(call.now.timestamp() * 1000))
        headers |= limit_headers(usage, now_epoch_s=now_epoch_s)
    return headers
