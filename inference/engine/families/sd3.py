"""Stable Diffusion 3 and 3.5. The large T5 text encoder is optional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline

from inference.engine.families.base import Batch, Condition, Model, Role, Text, read_alike
from inference.engine.families.controls import sd3_residuals
from inference.engine.families.flow import FlowFamily

MAX_SHIFT = 1.16


class StableDiffusion3(FlowFamily):
    name = "sd3"
    pipeline = StableDiffusion3Pipeline
    components = (
        "vae",
        "text_encoder",
        "text_encoder_2",
        "text_encoder_3",
        "tokenizer",
        "tokenizer_2",
        "tokenizer_3",
        "transformer",
        "scheduler",
    )
    optional = ("text_encoder_3", "tokenizer_3")

    def latent_channels(self, model: Model) -> int:
        return int(model.denoiser.config.in_channels)

    def clip_layers(self, model: Model) -> int:
        return min(int(e.config.num_hidden_layers) for e in (model.pipe.text_encoder, model.pipe.text_encoder_2))

    def set_timesteps(self, model: Model, scheduler: Any, steps: int, size: tuple[int, int]) -> None:
        scheduler.set_timesteps(steps, **self.shift(model, scheduler, size, MAX_SHIFT))

    def encode(self, model: Model, texts: Sequence[Text]) -> list[tuple[Condition, ...]]:
        """Those together that the pipeline reads in the same way."""
        return read_alike(
            texts, lambda text: (text.guidance > 1.0, text.clip_skip), lambda alike: self._read(model, alike)
        )

    def _read(self, model: Model, texts: Sequence[Text]) -> list[tuple[Condition, ...]]:
        twice = texts[0].guidance > 1.0
        told, without, pooled, pooled_without = model.pipe.encode_prompt(
            prompt=[text.prompt for text in texts],
            prompt_2=None,
            prompt_3=None,
            device=model.device,
            do_classifier_free_guidance=twice,
            negative_prompt=[text.negative for text in texts],
            clip_skip=texts[0].clip_skip or None,
        )
        positive = [Condition({"text": a, "pooled": b}) for a, b in zip(told.split(1), pooled.split(1), strict=True)]
        if not twice:
            return [(one,) for one in positive]
        rows = zip(without.split(1), pooled_without.split(1), strict=True)
        negative = [Condition({"text": a, "pooled": b}, Role.NEGATIVE) for a, b in rows]
        return list(zip(negative, positive, strict=True))

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        prediction: torch.Tensor = model.denoiser(
            hidden_states=batch.latents,
            timestep=batch.timesteps,
            encoder_hidden_states=batch.told["text"],
            pooled_projections=batch.told["pooled"],
            return_dict=False,
            **sd3_residuals(model, batch),
        )[0]
        return prediction
