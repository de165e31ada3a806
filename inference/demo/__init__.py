"""The demo model: a small text-to-image pipeline of our own, and the commands that draw its data, train and score it.

This file holds only plain constants, so that the gateway can describe the model without importing torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MODEL_DIR: Final = Path(__file__).parent / "model"

# The side the model learned most; it was also shown half of it, and oblongs of its area up to two to one. 20 steps take
# about a second of one core at 512 px.
NATIVE_SIDE_PX: Final = 512
SIDE_PX_MIN: Final = 256
SIDE_PX_MAX: Final = 512

# What gives the best pictures; the names are those of the render spec and of diffusers.
DEFAULTS: Final[dict[str, int | float | str]] = {
    "width_px": NATIVE_SIDE_PX,
    "height_px": NATIVE_SIDE_PX,
    "steps": 20,
    "guidance_scale": 3.0,
    "scheduler": "DDIMScheduler",
}
