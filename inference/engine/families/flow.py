"""What the flow-matching families (SD3, Flux) share: noise is mixed in linearly, and there is no input scaling."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from inference.engine.families.base import Family, Model, Sample, Start
from inference.engine.scheduler_names import FLOW


class FlowFamily(Family):
    denoiser = "transformer"
    schedulers = FLOW

    def size_unit(self, model: Model) -> int:
        return model.scale * 2  # Latents are read in patches of 2 x 2.

    def first_step(self, steps: int, strength: float) -> int:
        return min(int(max(steps - steps * strength, 0)), steps - 1)

    def start_controls(self, model: Model, start: Start, generator: torch.Generator) -> tuple[Any, ...]:
        """These networks see latents of the hint, which are drawn before the noise; some see its pixels."""
        vae = start.vae or model.vae
        return tuple(
            control
            if getattr(control.network, "input_hint_block", None) is not None
            else control.with_latents(model, vae, generator)
            for control in start.controls
        )

    def noise_scale(self, scheduler: Any) -> float:
        return 1.0

    def add_noise(self, sample: Sample, timesteps: torch.Tensor) -> torch.Tensor:
        noised: torch.Tensor = sample.scheduler.scale_noise(sample.image_latents, timesteps, sample.noise)
        return noised

    def advance(self, samples: Sequence[Sample], predictions: Sequence[torch.Tensor]) -> None:
        """The network predicts the way from picture to noise: going all of it back is the guess of the end."""
        guesses = [
            sample.latents - prediction * (float(sample.timestep) / sample.scheduler.config.num_train_timesteps)
            for sample, prediction in zip(samples, predictions, strict=True)
        ]
        super().advance(samples, predictions)
        for sample, guess in zip(samples, guesses, strict=True):
            sample.estimate = guess

    def scaled_latents(self, sample: Sample) -> torch.Tensor:
        return sample.latents

    def tokens(self, model: Model, size: tuple[int, int]) -> int:
        """How many patches the transformer sees; larger pictures need noise levels shifted upwards."""
        return (size[0] // self.size_unit(model)) * (size[1] // self.size_unit(model))

    def shift(self, model: Model, scheduler: Any, size: tuple[int, int], max_shift: float) -> dict[str, float]:
        """The shift of the noise levels for this size, as the pipelines compute it."""
        if not scheduler.config.get("use_dynamic_shifting", False) or not takes(scheduler, "mu"):
            return {}
        told = scheduler.config
        mu = calculate_shift(
            self.tokens(model, size),
            told.get("base_image_seq_len", 256),
            told.get("max_image_seq_len", 4096),
            told.get("base_shift", 0.5),
            told.get("max_shift", max_shift),
        )
        return {"mu": mu}


def takes(scheduler: Any, parameter: str) -> bool:
    return parameter in inspect.signature(scheduler.set_timesteps).parameters
