"""What a job needs and does by its operation: drawing goes through the steps, the rest runs in one piece.

It also finishes every picture: safety, then upscaling.
"""

from __future__ import annotations

from collections import deque

from PIL import Image

from inference.engine import drawing
from inference.engine.errors import RenderFailed
from inference.engine.parts import PartRef
from inference.engine.spec import RenderSpec
from inference.engine.work import Row


def needs(spec: RenderSpec) -> tuple[PartRef, ...]:
    if spec.operation in drawing.DRAWS:
        return drawing.needs(spec)
    raise RenderFailed(code="unsupported_operation", message=f"The engine cannot {spec.operation}.")


def pending(spec: RenderSpec) -> deque[int]:
    """The images to make, by their place. Operations on pictures make one."""
    return deque(range(max(spec.samples, 1) if spec.operation in drawing.DRAWS else 1))


def cost(spec: RenderSpec) -> float:
    """Megapixel-steps of an operation without steps."""
    return spec.width_px * spec.height_px / 1e6


def run(row: Row) -> None:
    """An operation without steps, as a whole."""
    raise RenderFailed(code="unsupported_operation", message=f"The engine cannot {row.work.spec.operation}.")


def finish(row: Row, image: Image.Image) -> None:
    row.deliver(image, flagged=False)
