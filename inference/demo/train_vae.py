"""Second stage: the autoencoder learns to make the pinned latent code, and to undo it sharply."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from inference.demo import NATIVE_SIDE_PX, parts
from inference.demo.draw import Scene, picture, scene_draw
from inference.demo.stage import BATCHES, DEVICE, SEED, Stage, stage_run

CROP_PX: Final = 128


def pictures_draw(
    told: list[Scene], rng: random.Random, sides_px: tuple[int, int] = (NATIVE_SIDE_PX, NATIVE_SIDE_PX)
) -> Tensor:
    """Pictures of the scenes, width and height for all, as a float tensor in [-1, 1]."""
    drawn = np.stack([np.asarray(picture(scene, rng, *sides_px)) for scene in told])
    return torch.from_numpy(drawn).to(DEVICE).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def crops_draw(rng: random.Random) -> Tensor:
    """Random crops, most of them across an outline, where there is something to learn."""
    crops = []
    for image in pictures_draw([scene_draw(rng) for _ in range(BATCHES["vae"])], rng):
        places = (NATIVE_SIDE_PX - CROP_PX) // parts.LATENT_FACTOR + 1
        tries = [[parts.LATENT_FACTOR * rng.randrange(places) for _ in "xy"] for _ in range(4)]
        cut = [image[:, y : y + CROP_PX, x : x + CROP_PX] for x, y in tries]
        crops.append(max(cut, key=lambda crop: float(crop.std(dim=(1, 2)).max())))
    return torch.stack(crops).to(memory_format=torch.channels_last)


def vae_loss(vae: Any, pictures: Tensor) -> Tensor:
    """The encoder must make the pinned code; the decoder must undo it sharply, even when the code is a little off."""
    code = parts.pinned_code(pictures)
    noisy = code + 0.06 * torch.rand(len(code), 1, 1, 1, device=DEVICE) * torch.randn_like(code)
    encoded, decoded = vae.encode(pictures).latents, vae.decode(noisy).sample
    error = decoded - pictures
    edges = sum((error.diff(dim=axis)).abs().mean() for axis in (2, 3))
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * edges + 3 * (encoded - code).square().mean()


def vae_train(folder: Path, budget_s: float) -> None:
    torch.manual_seed(SEED)
    vae: Any = parts.build_autoencoder().to(DEVICE, memory_format=torch.channels_last)
    stage = Stage("vae", vae, folder, budget_s)
    rng = random.Random(SEED + stage.steps)

    def losses() -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16):
            return vae_loss(vae, crops_draw(rng))

    stage_run(stage, losses)
