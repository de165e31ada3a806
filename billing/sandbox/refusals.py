"""The errors that the stand-in answers with, in Stripe's shapes: type, code, parameter, status.

Shapes and codes: Stripe's error reference (docs.stripe.com/api/errors) and the `ErrorObject` class of stripe-python.
"""

from typing import Any


class Refusal(Exception):
    """An error answer. `saved` says whether an idempotency key remembers it: Stripe forgets refusals that come before
    anything was done (bad parameters, authentication, conflicts, limits) and remembers all others."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        saved: bool = False,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        fields = {"type": type, "code": code, "message": message, "param": param, **extra}
        self.body = {"error": {name: value for name, value in fields.items() if value is not None}}


def resource_missing(kind: str, wanted: object, param: str, status: int = 404) -> Refusal:
    label = kind.split(".")[-1].replace("_", " ")
    return Refusal(f"No such {label}: {wanted!r}", status=status, code="resource_missing", param=param)


def parameter_missing(param: str) -> Refusal:
    return Refusal(f"Missing required param: {param}.", code="parameter_missing", param=param)


def parameter_invalid(param: str, message: str, code: str | None = None) -> Refusal:
    return Refusal(message, code=code, param=param)


def unauthorized() -> Refusal:
    return Refusal("Invalid API Key provided.", status=401)


def forbidden(permission: str) -> Refusal:
    message = f"The provided key does not have the required permissions for this endpoint: {permission}."
    return Refusal(message, status=403, code="more_permissions_required")


def rate_limited() -> Refusal:
    return Refusal("Too many requests hit the API too quickly.", status=429, code="rate_limit")


def server_error() -> Refusal:
    return Refusal("An unknown error occurred.", status=500, type="api_error", saved=True)


def key_in_use(key: str) -> Refusal:
    message = f"There is currently another in-progress request using this Idempotent Key: {key}."
    return Refusal(message, status=409, type="idempotency_error", code="idempotency_key_in_use")


def key_reused(key: str, what: str) -> Refusal:
    message = f"Keys for idempotent requests can only be used {what} they were first used with. Key: {key}."
    return Refusal(message, type="idempotency_error")


def card_error(error: dict[str, Any], intent: dict[str, Any]) -> Refusal:
    """A decline: status 402, with the payment intent that it left behind."""
    details = {name: value for name, value in error.items() if name not in ("type", "message", "code", "param")}
    return Refusal(
        str(error["message"]),
        status=402,
        type="card_error",
        code=error["code"],
        param=error.get("param"),
        saved=True,
        payment_intent=intent,
        **details,
    )
