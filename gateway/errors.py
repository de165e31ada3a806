"""Refusals of the edge: limits, conflicts. Typed fields, message from the docstring, no word of HTTP."""

from __future__ import annotations

from accounts.errors import DomainError


class RateLimited(DomainError):
    """The limit of {limit} calls a minute is reached: try again in {retry_after_s} s."""

    code = "rate_limited"


class CallsPaused(DomainError):
    """New calls are paused by the operator and nothing was done: try again in {retry_after_s} s."""

    code = "calls_paused"


class PaymentsPaused(DomainError):
    """Payments are paused by the operator. The funds and the plan that there are go on as they are."""

    code = "payments_paused"


class KeyQuotaExhausted(DomainError):
    """This API key has made the {limit} calls that it may make in a UTC day: it goes on at {resets_at}."""

    code = "key_quota_exhausted"


class QueueFull(DomainError):
    """{limit} calls of this account are queued or running already, which is the limit of its plan:
    try again when one has finished."""

    code = "queue_full"


class IdempotencyConflict(DomainError):
    """The idempotency key "{key}" was used for a different request."""

    code = "idempotency_conflict"


class AddressRefused(DomainError):
    """The address {url} cannot be used: {reason}."""

    code = "address_refused"


class FetchFailed(DomainError):
    """Nothing could be loaded from {url}: {reason}."""

    code = "fetch_failed"


class ImageInvalid(DomainError):
    """This is not a usable picture: {reason}."""

    code = "image_invalid"


class WebhookNotFound(DomainError):
    """There is no webhook delivery {delivery_id}."""

    code = "webhook_not_found"
