"""Flux: dev (guidance as an embedding), schnell (no guidance), and Kontext (edits a picture that it sees beside).

Latents are kept as pictures and packed into patches for the transformer only: packing is a mere reordering.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS
from PIL import Image

from inference.engine.families.base import Batch, Condition, Model, Sample, Start, Text
from inference.engine.families.controls import flux_residuals
from inference.engine.families.flow import FlowFamily, takes

MAX_SHIFT = 1.15
# What the pipelines read of a prompt (schnell was trained on 256 tokens).
DEV_TOKENS, SCHNELL_TOKENS = 512, 256


class Flux(FlowFamily):
    name = "flux"
    skips_foreign_adapters = True
    pipeline = FluxPipeline
    components = (
        "vae",
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
        "transformer",
        "scheduler",
    )

    def latent_channels(self, model: Model) -> int:
        return int(model.denoiser.config.in_channels) // 4

    def ignored(self, model: Model) -> tuple[str, ...]:
        scale = () if model.denoiser.config.guidance_embeds else ("guidance_scale",)
        return ("negative_prompt", "enhance_prompt", *scale)

    def edits(self, model: Model) -> bool:
        return "Kontext" in model.variant

    def set_timesteps(self, model: Model, scheduler: Any, steps: int, size: tuple[int, int]) -> None:
        if not takes(scheduler, "sigmas"):
            scheduler.set_timesteps(steps)
            return
        sigmas = np.linspace(1.0, 1 / steps, steps)
        scheduler.set_timesteps(sigmas=sigmas, **self.shift(model, scheduler, size, MAX_SHIFT))

    def encode(self, model: Model, texts: Sequence[Text]) -> list[tuple[Condition, ...]]:
        embeds = model.denoiser.config.guidance_embeds
        told, pooled, _ = model.pipe.encode_prompt(
            prompt=[text.prompt for text in texts],
            device=model.device,
            max_sequence_length=DEV_TOKENS if embeds else SCHNELL_TOKENS,
        )
        conditions: list[tuple[Condition, ...]] = []
        for text, words, pool in zip(texts, told.split(1), pooled.split(1), strict=True):
            tensors = {"text": words, "pooled": pool}
            if embeds:
                tensors["guidance"] = torch.full([1], text.guidance, device=model.device, dtype=torch.float32)
            conditions.append((Condition(tensors),))
        return conditions

    def start(self, model: Model, start: Start) -> Sample:
        if start.image is None or start.mask is not None or not self.edits(model):
            return super().start(model, start)
        picture, start.image = start.image, None
        sample = super().start(model, start)
        sample.reference = self._reference(model, sample.vae, picture)
        return sample

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        height, width = batch.latents.shape[-2:]
        patches, ids = pack(batch.latents), self._ids(model, batch.latents, 0)
        if batch.rows[0].sample.reference is not None:
            reference = torch.cat([row.sample.reference for row in batch.rows if row.sample.reference is not None])
            patches = torch.cat([patches, pack(reference.to(patches))], dim=1)
            ids = torch.cat([ids, self._ids(model, reference, 1)], dim=0)
        text = batch.told["text"]
        told = {
            "hidden_states": patches,
            "timestep": batch.timesteps / 1000,
            "guidance": batch.told.get("guidance"),
            "pooled_projections": batch.told["pooled"],
            "encoder_hidden_states": text,
            "txt_ids": torch.zeros(text.shape[1], 3, device=text.device, dtype=text.dtype),
            "img_ids": ids,
            "return_dict": False,
        }
        prediction = model.denoiser(**told, **flux_residuals(model, batch, told, pack))[0]
        return unpack(prediction[:, : (height // 2) * (width // 2)], height, width)

    def _ids(self, model: Model, latents: torch.Tensor, layer: int) -> torch.Tensor:
        """The place of each patch; the picture that Kontext sees lies one layer up."""
        height, width = latents.shape[-2:]
        ids: torch.Tensor = self.pipeline._prepare_latent_image_ids(
            1, height // 2, width // 2, model.device, model.dtype
        )
        ids[..., 0] = layer
        return ids

    def _reference(self, model: Model, vae: Any, picture: Image.Image) -> torch.Tensor:
        """Kontext sees pictures at the sizes it was trained on: that of the nearest aspect."""
        aspect = picture.width / picture.height
        _, width_px, height_px = min((abs(aspect - w / h), w, h) for w, h in PREFERRED_KONTEXT_RESOLUTIONS)
        resized = picture.resize((width_px, height_px), Image.Resampling.LANCZOS)
        encoded = vae.encode(self.pixels(model, resized).to(model.device, vae.dtype))
        return self.scale_latents(vae, encoded.latent_dist.mode().float())


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Patches of 2 x 2 latents in a row: n x c x h x w to n x (h/2 w/2) x 4c."""
    n, c, h, w = latents.shape
    return latents.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c * 4)


def unpack(patches: torch.Tensor, height: int, width: int) -> torch.Tensor:
    n, _, c = patches.shape
    shaped = patches.reshape(n, height // 2, width // 2, c // 4, 2, 2)
    return shaped.permute(0, 3, 1, 4, 2, 5).reshape(n, c // 4, height, width)
