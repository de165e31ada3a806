"""The one error of the render engine. It knows nothing of HTTP and nothing of Django."""

from __future__ import annotations


class RenderFailed(Exception):
    """A render that cannot deliver. `code` is for programs, `message` for people, `retryable` for the dispatcher."""

    def __init__(self, *, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
