"""What a job needs and does by its operation: drawing goes through steps, work on a finished picture runs in one piece.

Every drawn picture is finished here: checked, then enlarged where asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from PIL import Image

from inference.engine import drawing, safety
from inference.engine.errors import RenderFailed
from inference.engine.parts import PartKind, PartRef, part_of
from inference.engine.pixels import opaque, upright
from inference.engine.settings import EngineSettings
from inference.engine.spec import BackgroundSpec, Family, Operation, RenderSpec, UpscaleSpec
from inference.engine.work import Row, Work

WHOLE = {
    Operation.UPSCALE: Family.UPSCALER,
    Operation.REMOVE_BACKGROUND: Family.BACKGROUND,
    Operation.CREATE_MASK: Family.BACKGROUND,
    Operation.CHECK_SAFETY: Family.SAFETY,
}
# Megapixel-steps of one megapixel: what a whole operation costs beside a step of drawing.
UPSCALE_COST, BACKGROUND_COST = 4.0, 1.0


def needs(spec: RenderSpec, settings: EngineSettings) -> tuple[PartRef, ...]:
    """The parts of a job, those that finish its pictures included if they are installed."""
    if spec.operation in WHOLE:
        if spec.model.family != WHOLE[spec.operation]:
            message = f"model_id: {spec.model.model_id} cannot {spec.operation}."
            raise RenderFailed(code="unsupported_operation", message=message)
        refs = [part_of(spec.model)]
    else:
        refs = [*drawing.needs(spec)]
        if spec.upscale and _upscaler(settings):
            refs.append(PartRef(PartKind.UPSCALER, _upscaler(settings)))
    if spec.safety.enabled and _checker(settings):
        refs.append(PartRef(PartKind.SAFETY, _checker(settings)))
    return tuple(refs)


def pending(spec: RenderSpec) -> deque[int]:
    """The images to make, by their place. Operations on pictures make one."""
    return deque(range(1 if spec.operation in WHOLE else max(spec.samples, 1)))


def cost(spec: RenderSpec) -> float:
    """Megapixel-steps of a whole operation. Its size is that of the result."""
    each = UPSCALE_COST if spec.operation == Operation.UPSCALE else BACKGROUND_COST
    return each * spec.width_px * spec.height_px / 1e6


def _upscaler(settings: EngineSettings) -> str:
    """What enlarges drawn pictures, if it is installed."""
    return str(settings.upscaler) if (settings.model_dir / settings.upscaler).exists() else ""


def _checker(settings: EngineSettings) -> str:
    return str(settings.safety_dir) if (settings.model_dir / settings.safety_dir).is_dir() else ""


# --- Whole operations -------------------------------------------------------------------------------------------------


def run(row: Row, settings: EngineSettings) -> None:
    work = row.work
    if not work.spec.init_images or work.spec.init_images[0] not in work.job.inputs:
        raise RenderFailed(code="invalid_input", message=f"init_image: {work.spec.operation} needs a picture.")
    picture = upright(work.job.inputs[work.spec.init_images[0]])
    part = work.parts()[work.refs[0]]
    if work.spec.operation == Operation.CHECK_SAFETY:  # the verdict is the result, so the picture stays as it came
        row.deliver(picture, flagged=part.check([opaque(picture)])[0])
        return
    actions: dict[Operation, Callable[[], Image.Image]] = {
        Operation.UPSCALE: lambda: _enlarged(work, row.index, part, picture, work.spec.upscale or UpscaleSpec()),
        Operation.REMOVE_BACKGROUND: lambda: part.cut(picture, work.spec.background or BackgroundSpec()),
        Operation.CREATE_MASK: lambda: part.mask(picture, work.spec.mask_subject),
    }
    image = actions[work.spec.operation]()
    work.report.used |= {"width_px": image.width, "height_px": image.height}
    image, flagged = _checked(work, image, settings)
    row.deliver(image, flagged=flagged)


def _enlarged(work: Work, index: int, upscaler: Any, picture: Image.Image, spec: UpscaleSpec) -> Image.Image:
    def on_tile(done: int, total: int) -> None:
        if work.job.cancelled:
            raise RenderFailed(code="cancelled", message="The job was cancelled.")
        work.tell("step", index, done, total)

    image: Image.Image = upscaler.upscale(picture, spec.factor, on_tile=on_tile)
    return image


# --- Finishing --------------------------------------------------------------------------------------------------------


def finish(row: Row, image: Image.Image, settings: EngineSettings) -> None:
    """The check sees the picture as it was drawn: enlarging changes nothing about what it shows."""
    work = row.work
    image, flagged = _checked(work, image, settings)
    if work.spec.upscale:
        image = _finished_size(work, image, work.spec.upscale, settings)
    row.deliver(image, flagged=flagged)


def _checked(work: Work, image: Image.Image, settings: EngineSettings) -> tuple[Image.Image, bool]:
    told = work.spec.safety
    if not told.enabled:
        return image, False
    if not _checker(settings):
        if settings.require_safety:
            message = "The safety checker is not installed, and this worker delivers no picture unchecked."
            raise RenderFailed(code="safety_missing", message=message)
        work.report.used["safety"] = {"enabled": False, "action": told.action}
        work.report.note("The picture was not checked: no safety checker is installed.")
        return image, False
    checker = work.parts()[PartRef(PartKind.SAFETY, _checker(settings))]
    if not checker.check([opaque(image)])[0]:
        return image, False
    return safety.blank(image, told.action), True


def _finished_size(work: Work, image: Image.Image, spec: UpscaleSpec, settings: EngineSettings) -> Image.Image:
    if _upscaler(settings):
        upscaler = work.parts()[PartRef(PartKind.UPSCALER, _upscaler(settings))]
        return _enlarged(work, 0, upscaler, image, spec)
    work.report.note("The picture was enlarged by resampling: no upscaler is installed.")
    return image.resize((image.width * spec.factor, image.height * spec.factor), Image.Resampling.LANCZOS)
