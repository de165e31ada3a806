"""What can be wrong with an order for a picture. Typed fields, message from the docstring, no word of HTTP."""

from __future__ import annotations

from accounts.errors import DomainError


class ModelNotFound(DomainError):
    """There is no model "{model_id}"."""

    code = "model_not_found"


class AdapterNotFound(DomainError):
    """There is no {kind} "{adapter_id}" for models of the family {family}."""

    code = "adapter_not_found"


class GenerationNotFound(DomainError):
    """There is no generation {generation_id}."""

    code = "generation_not_found"


class OperationNotSupported(DomainError):
    """The model "{model_id}" cannot do this: {operation}. It can do: {supported}."""

    code = "operation_not_supported"


class CapabilityMissing(DomainError):
    """This installation has no model for {operation}. Its operator must add {needed}."""

    code = "capability_missing"


class InvalidRequest(DomainError):
    """{summary}"""

    code = "invalid_request"
