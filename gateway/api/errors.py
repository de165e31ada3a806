"""The one table from an exception's class to its HTTP status and to what of it the reply shows.

Code and text belong to the exceptions themselves (<app>/errors.py). tests/contracts/test_error_table.py proves that
every one of them stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accounts import errors as accounts
from accounts.errors import DomainError
from billing import errors as billing
from gateway import errors as gateway
from gateway.api import refusals
from inference import errors as inference

# Spellings of the older API: what a client reads in the body.
_BODY_NAMES = {"retry_after_s": "retry_after", "faults": "errors"}
LEGACY_VERSIONS = frozenset({"v3", "v4", "v5"})


@dataclass(frozen=True, slots=True)
class Answer:
    """The status, and the exception's fields that go into the body beside its code and message."""

    status: int
    shows: tuple[str, ...] = ()


ERRORS: dict[type[DomainError], Answer] = {
    # 401, 403: who is calling
    accounts.KeyMissing: Answer(401),
    accounts.KeyInvalid: Answer(401),
    accounts.KeyExpired: Answer(401, ("expired_at",)),
    accounts.KeyRevoked: Answer(401),
    accounts.AccountSuspended: Answer(403, ("reason",)),
    accounts.ScopeDenied: Answer(403, ("scope",)),
    accounts.AddressDenied: Answer(403),
    accounts.OriginDenied: Answer(403),
    accounts.ModelDenied: Answer(403, ("model_id",)),
    accounts.TooManyFailedKeys: Answer(429, ("retry_after_s",)),
    # 402: money
    billing.FundsExhausted: Answer(
        402, ("cost_usd", "cost_microusd", "available_usd", "available_microusd", "billing_url")
    ),
    billing.AllowanceExhausted: Answer(402, ("limit", "resets_at", "billing_url")),
    billing.ModelNotInPlan: Answer(402, ("plan", "model_id", "billing_url")),
    billing.SpendLimitReached: Answer(402, ("limit_usd", "scope", "period", "resets_at")),
    billing.AccountInArrears: Answer(402, ("billing_url",)),
    billing.InvoiceUnpaid: Answer(402, ("owed_usd", "billing_url")),
    billing.CardDeclined: Answer(402, ("reason",)),
    # 429: limits that pass by themselves
    billing.DailyQuotaExhausted: Answer(429, ("limit", "resets_at", "retry_after_s", "billing_url")),
    gateway.KeyQuotaExhausted: Answer(429, ("limit", "resets_at", "retry_after_s")),
    gateway.RateLimited: Answer(429, ("limit", "retry_after_s")),
    gateway.QueueFull: Answer(429, ("limit", "retry_after_s")),
    # 400, 404, 405, 409, 413: the request
    inference.InvalidRequest: Answer(400, ("faults",)),
    inference.OperationNotSupported: Answer(400, ("model_id", "operation", "supported")),
    gateway.AddressRefused: Answer(400, ("reason",)),
    gateway.FetchFailed: Answer(400, ("reason",)),
    gateway.ImageInvalid: Answer(400, ("reason",)),
    refusals.BodyMalformed: Answer(400),
    refusals.HostNotAllowed: Answer(400),
    inference.ModelNotFound: Answer(404, ("model_id",)),
    inference.AdapterNotFound: Answer(404, ("kind", "adapter_id", "family")),
    inference.GenerationNotFound: Answer(404),
    gateway.WebhookNotFound: Answer(404),
    refusals.KeyNotFound: Answer(404),
    refusals.RouteNotFound: Answer(404),
    refusals.MethodNotAllowed: Answer(405, ("allowed",)),
    refusals.AlreadySettled: Answer(409, ("state",)),
    billing.TopUpAmountInvalid: Answer(400, ("minimum_usd", "maximum_usd")),
    billing.RechargeRefused: Answer(400, ("reason",)),
    billing.PostpaidLimitInvalid: Answer(400, ("plan",)),
    billing.PlanNotForSale: Answer(404, ("plan",)),
    billing.SubscriptionExists: Answer(409, ("plan",)),
    billing.RefundRefused: Answer(409, ("reason",)),
    gateway.IdempotencyConflict: Answer(409),
    refusals.BodyTooLarge: Answer(413, ("limit",)),
    # 403, 503: what this installation cannot do, or not now
    refusals.NotOffered: Answer(403, ("what",)),
    inference.CapabilityMissing: Answer(503, ("operation", "needed")),
    billing.PriceMissing: Answer(503, ("model_id",)),
    billing.PaymentsNotConfigured: Answer(503),
    billing.PaymentProviderUnavailable: Answer(503),
    gateway.CallsPaused: Answer(503, ("retry_after_s",)),
    gateway.PaymentsPaused: Answer(503),
    refusals.TemporarilyUnavailable: Answer(503, ("retry_after_s",)),
    billing.PaymentProviderRefused: Answer(502, ("reason",)),
    billing.PaymentMismatch: Answer(502, ("reference",)),
    # 500: our own fault; the caller learns the request id and no more
    billing.WalletMissing: Answer(500),
    billing.LedgerConflict: Answer(500),
    billing.PlanUnknown: Answer(500),
    refusals.InternalError: Answer(500),
}


def answer_to(problem: DomainError) -> Answer:
    """The table's row for the exception's class, or for the nearest class that it derives from."""
    for kind in type(problem).__mro__:
        if kind in ERRORS:
            return ERRORS[kind]
    return ERRORS[refusals.InternalError]


def error_body(problem: DomainError, *, request_id: str) -> dict[str, Any]:
    """What every error looks like, whatever its status; the message in both spellings, for clients read but one."""
    answer = answer_to(problem)
    if answer.status == 500:
        problem = refusals.InternalError()
    body: dict[str, Any] = {
        "status": "error",
        "message": problem.message,
        "messege": problem.message,
        "code": problem.code,
        "request_id": request_id,
    }
    for name in answer.shows:
        value = problem.fields.get(name)
        if value is not None:
            body[_BODY_NAMES.get(name, name)] = value
    return body
