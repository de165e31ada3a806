"""The progress that a job tells while it runs: small dictionaries, sent from the device's thread.

`type` is started, step, preview or finished; `index` is the image, `step` counts from 1 to `steps`. A preview brings a
small picture as `preview`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image

from inference.engine.families.base import Model, Sample

logger = logging.getLogger(__name__)
Listener = Callable[[dict[str, Any]], None]
# A preview's longer side in latents. Decoding 32 x 32 of them costs a sixteenth of a 1024 px picture.
PREVIEW_LATENTS = 32


def send(listener: Listener | None, event: dict[str, Any]) -> None:
    """A listener that fails must not cost anybody's picture."""
    if listener is None:
        return
    try:
        listener(event)
    except Exception:
        logger.exception("A progress listener failed.")


def preview(model: Model, sample: Sample) -> Image.Image:
    """A small picture of what the sample is becoming: the scheduler's estimate of the end, where it offers one."""
    latents = _estimate(sample)
    longer = max(latents.shape[-2:])
    if longer > PREVIEW_LATENTS:
        factor = PREVIEW_LATENTS / longer
        latents = torch.nn.functional.interpolate(latents.float(), scale_factor=factor, mode="area")
    pixels = model.family.decode_pixels(sample.vae, latents)[0].clamp(-1, 1)
    levels = ((pixels + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(levels)


def _estimate(sample: Sample) -> torch.Tensor:
    """What the sample will be, as its scheduler guesses now; else what it is, with the noise that is left."""
    if sample.estimate is not None:
        return sample.estimate
    # Multistep solvers remember their guesses instead of telling them, if they are of the kind that guesses the end.
    config = sample.scheduler.config
    guesses_end = config.get("predict_x0") or "++" in (config.get("algorithm_type") or "")
    remembered = getattr(sample.scheduler, "model_outputs", None)
    guess = remembered[-1] if guesses_end and remembered else None
    return sample.latents if guess is None else guess
