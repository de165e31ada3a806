"""What can be wrong with a request before it means anything: its body, its address, its method."""

from __future__ import annotations

from accounts.errors import DomainError


class BodyMalformed(DomainError):
    """The request could not be read: {reason}."""

    code = "malformed_request"


class BodyTooLarge(DomainError):
    """The body is larger than the {limit} bytes that are accepted."""

    code = "body_too_large"


class HostNotAllowed(DomainError):
    """This service does not answer under the host name of the request. Its operator can add it to ALLOWED_HOSTS."""

    code = "host_not_allowed"


class RouteNotFound(DomainError):
    """There is no route {path} in this API."""

    code = "route_not_found"


class MethodNotAllowed(DomainError):
    """{path} takes {allowed}, not {method}."""

    code = "method_not_allowed"


class NotOffered(DomainError):
    """This service does not offer {what}. {instead}"""

    code = "not_offered"


class KeyNotFound(DomainError):
    """This account has no API key with the id {key_id}."""

    code = "key_not_found"


class AlreadySettled(DomainError):
    """Generation {generation_id} has {state} already and can no longer be cancelled."""

    code = "already_settled"


class TemporarilyUnavailable(DomainError):
    """The service is too busy right now and nothing was done: try again in {retry_after_s} s."""

    code = "temporarily_unavailable"


class InternalError(DomainError):
    """Something broke on our side and has been recorded. Try again; if it stays, tell us the request id."""

    code = "internal_error"
