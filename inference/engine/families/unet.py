"""What Stable Diffusion 1, 2 and XL share: a UNet with cross attention, and ControlNets beside it."""

from __future__ import annotations

from typing import Any

import torch

from inference.engine.families.base import Batch, Family, Model, Sample, Start, Tensors
from inference.engine.families.controls import unet_residuals
from inference.engine.scheduler_names import CLASSIC


class UNetFamily(Family):
    denoiser = "unet"
    wears_dresses = True
    schedulers = CLASSIC

    def latent_channels(self, model: Model) -> int:
        return int(model.vae.config.latent_channels)

    def sees_mask(self, model: Model) -> bool:
        return bool(model.denoiser.config.in_channels == 2 * model.vae.config.latent_channels + 1)

    def tokens_read(self, model: Model, prompt: str) -> int:
        """CLIP reads 77 tokens, of which two mark the ends."""
        tokenizer = model.pipe.tokenizer or model.pipe.tokenizer_2
        limit = int(tokenizer.model_max_length)
        if prompt.isascii() and len(prompt) <= limit - 2:
            return 0  # No token is shorter than a character.
        return limit - 2 if len(tokenizer(prompt).input_ids) > limit else 0

    def start(self, model: Model, start: Start) -> Sample:
        """An inpainting network without a mask is told that everything is to be painted and nothing is known."""
        sample = super().start(model, start)
        if self.sees_mask(model) and sample.extra_channels is None:
            unknown = torch.zeros(1, 3, start.height_px, start.width_px)
            generator = torch.Generator("cpu").manual_seed(start.seed)
            masked = self._to_latents(model, sample.vae, unknown, generator)
            sample.extra_channels = torch.cat([torch.ones_like(masked[:, :1]), masked], dim=1)
        return sample

    def added(self, batch: Batch) -> dict[str, Any] | None:
        """The UNet's conditions beside text."""
        return None

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        added = self.added(batch)
        text = batch.told["text"]
        picture = batch.told.get("picture")
        prediction: torch.Tensor = model.denoiser(
            batch.latents,
            batch.timesteps,
            encoder_hidden_states=text if picture is None else (text, [picture]),
            timestep_cond=batch.told.get("guidance"),
            added_cond_kwargs=added,
            return_dict=False,
            **unet_residuals(model, batch, added),
        )[0]
        return prediction

    def guidance_condition(self, model: Model, guidance: float) -> Tensors:
        """Consistency-distilled UNets are told the guidance as an embedding instead of running twice."""
        width = model.denoiser.config.time_cond_proj_dim
        if width is None:
            return {}
        told = model.pipe.get_guidance_scale_embedding(torch.tensor([guidance - 1.0]), embedding_dim=width)
        return {"guidance": told.to(model.device, model.dtype)}

    def runs_twice(self, model: Model, guidance: float) -> bool:
        return guidance > 1.0 and model.denoiser.config.time_cond_proj_dim is None
