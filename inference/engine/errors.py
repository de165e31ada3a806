"""The one error of the render engine. It knows nothing of HTTP and nothing of Django."""

from __future__ import annotations


class RenderFailed(Exception):
    """A render that cannot deliver. `code` is for programs, `message` for people, `retryable` for the dispatcher,
    `trace` (the text of another exception's traceback) for the operator."""

    def __init__(self, *, code: str, message: str, retryable: bool = False, trace: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.trace = trace


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA has a type of its own; the CPU's allocator raises a RuntimeError with these words."""
    if isinstance(error, RenderFailed):
        return error.code == "out_of_memory"
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate" in str(error)
