"""What Stable Diffusion 1, 2 and XL share: a UNet with cross attention, and ControlNets beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from inference.engine.families.base import Batch, Family, Model, Role, Row, Sample, Start, Tensors
from inference.engine.scheduler_names import CLASSIC


@dataclass(frozen=True, slots=True)
class Control:
    """One ControlNet of a sample: `hint` is 1 x 3 x height x width in 0..1. Samples with equal keys may share."""

    key: str
    network: Any
    hint: torch.Tensor
    scale: float
    guess: bool = False


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
            **_residuals(model, batch, added),
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


def _residuals(model: Model, batch: Batch, added: dict[str, Any] | None) -> dict[str, Any]:
    """The ControlNets' sums for every row. Strength, and what guess mode does, are factors per row and depth."""
    networks = batch.rows[0].sample.controls
    total: list[torch.Tensor] = []
    for place, control in enumerate(networks):
        mine = [row.sample.controls[place] for row in batch.rows]
        down, middle = control.network(
            batch.latents[:, : control.network.config.in_channels],
            batch.timesteps,
            encoder_hidden_states=batch.told["text"],
            controlnet_cond=torch.cat([c.hint for c in mine]).to(model.dtype),
            added_cond_kwargs=added,
            return_dict=False,
        )
        outputs = [*down, middle]
        factors = torch.stack([_factors(c, row, len(outputs)) for c, row in zip(mine, batch.rows, strict=True)])
        factors = factors.to(model.device, model.dtype)
        scaled = [out * factors[:, depth].view(-1, 1, 1, 1) for depth, out in enumerate(outputs)]
        total = scaled if not total else [a + b for a, b in zip(total, scaled, strict=True)]
    if not total:
        return {}
    return {"down_block_additional_residuals": tuple(total[:-1]), "mid_block_additional_residual": total[-1]}


def _factors(control: Control, row: Row, depths: int) -> torch.Tensor:
    """In guess mode only the prompted row is steered, and shallow layers less than deep ones.

    The ramp from 0.1 to 1 is that of diffusers' ControlNetModel (`guess_mode`).
    """
    if not control.guess:
        return torch.full((depths,), control.scale)
    if row.condition.role is Role.NEGATIVE:
        return torch.zeros(depths)
    pooled = bool(control.network.config.global_pool_conditions)
    ramp = torch.ones(depths) if pooled else torch.logspace(-1, 0, depths)
    return ramp * control.scale
