"""The operations on pictures that draw little or nothing: enlarge, cut out, mask, extend."""

from __future__ import annotations

from typing import Any

from gateway.api.fields import Fields
from gateway.api.profiles import Profile
from inference.engine.spec import BackgroundSpec, Operation, OutpaintSpec, UpscaleSpec

UPSCALE_FACTOR_DEFAULT, UPSCALE_FACTOR_MAX = 3, 8
OVERLAP_PX_DEFAULT, OVERLAP_PX_MAX = 10, 256
SUBJECT_CHARS_MAX = 400
# What the render engine makes at most: 8K with room for square formats.
OUTPUT_PIXELS_MAX = 8192 * 8192


def editing_read(fields: Fields, profile: Profile) -> dict[str, Any]:
    """These fields as arguments of RenderSpec."""
    match profile.operation:
        case Operation.UPSCALE:
            return {"upscale": _upscale(fields), "num_inference_steps": 1}
        case Operation.OUTPAINT:
            overlap_px = fields.whole("overlap_width", default=OVERLAP_PX_DEFAULT, low=0, high=OVERLAP_PX_MAX)
            return {"outpaint": OutpaintSpec(overlap_px=overlap_px)}
        case Operation.REMOVE_BACKGROUND:
            return {"background": _background(fields), "num_inference_steps": 1}
        case Operation.CREATE_MASK:
            subject = fields.text("specific_object", "object", chars_max=SUBJECT_CHARS_MAX)
            if not subject:
                fields.require("specific_object")
            return {"mask_subject": subject, "num_inference_steps": 1}
        case Operation.CHECK_SAFETY:
            return {"num_inference_steps": 1}
        case _:
            return {}


def _upscale(fields: Fields) -> UpscaleSpec:
    factor = fields.whole("scale", default=UPSCALE_FACTOR_DEFAULT, low=1, high=UPSCALE_FACTOR_MAX)
    if fields.flag("face_enhance", default=False):  # to enlarge without it would charge for what was not done
        fields.fault("face_enhance", "not_supported", "cannot be yes: faces are not restored here", True)
    return UpscaleSpec(factor=factor)


def _background(fields: Fields) -> BackgroundSpec:
    return BackgroundSpec(
        only_mask=fields.flag("only_mask", default=False),
        inverse_mask=fields.flag("inverse_mask", default=False),
        post_process_mask=fields.flag("post_process_mask", default=False),
        alpha_matting=fields.flag("alpha_matting", default=False),
        foreground_threshold=fields.whole(
            "alpha_matting_foreground_threshold", "foreground_threshold", default=240, low=0, high=255
        ),
        background_threshold=fields.whole(
            "alpha_matting_background_threshold", "background_threshold", default=20, low=0, high=255
        ),
        erode_px=fields.whole("alpha_matting_erode_size", "erode_size", default=5, low=0, high=40),
    )


def result_size(arguments: dict[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """The size of what is delivered. Enlarging drawn pictures comes after drawing and is not part of it."""
    upscale: UpscaleSpec | None = arguments.get("upscale")
    if arguments["operation"] is not Operation.UPSCALE or upscale is None:
        return size
    return size[0] * upscale.factor, size[1] * upscale.factor


def output_size_check(fields: Fields, arguments: dict[str, Any], picture: tuple[int, int] | None) -> None:
    """An enlargement must fit; told before admission, because the picture's size was not known before."""
    upscale: UpscaleSpec | None = arguments.get("upscale")
    if arguments["operation"] is not Operation.UPSCALE or upscale is None or picture is None:
        return
    pixels = picture[0] * picture[1] * upscale.factor**2
    if pixels > OUTPUT_PIXELS_MAX:
        message = f"makes {pixels} pixels of this picture; at most {OUTPUT_PIXELS_MAX} are drawn"
        fields.fault("scale", "too_large", message, upscale.factor, limit=OUTPUT_PIXELS_MAX)
