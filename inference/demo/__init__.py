"""The demo model: a small text-to-image pipeline of our own, and the commands that draw its data, train and score it.

This file holds only plain constants, so that the gateway can describe the model without importing torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MODEL_DIR: Final = Path(__file__).parent / "model"

# The side the model learned. It is convolutional, so other sides work: up to 512 px one object grows with the picture,
# its outline more ragged the further from 256 px; 20 steps take 0.8 s of one core at 256 px, 2.4 s at 512 px.
NATIVE_SIDE_PX: Final = 256
SIDE_PX_MIN: Final = 192
SIDE_PX_MAX: Final = 512
SIDE_PX_STEP: Final = 64

# What gives the best pictures; the names are those of the render spec and of diffusers.
DEFAULTS: Final[dict[str, int | float | str]] = {
    "width_px": NATIVE_SIDE_PX,
    "height_px": NATIVE_SIDE_PX,
    "steps": 20,
    "guidance_scale": 3.0,
    "scheduler": "DDIMScheduler",
}
