"""Stable Diffusion 1.x and 2.x."""

from __future__ import annotations

from typing import Any

from diffusers import StableDiffusionPipeline

from inference.engine.families.base import Condition, Model, Role
from inference.engine.families.unet import UNetFamily


class StableDiffusion(UNetFamily):
    name = "sd15"
    pipeline = StableDiffusionPipeline
    components = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")

    def assemble(self, parts: dict[str, Any], options: dict[str, bool]) -> Any:
        """Without a safety checker: the engine runs its own, because this one's only answer is a black picture."""
        checker = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        self.check(parts)
        return self.pipeline(**{name: parts[name] for name in self.components}, **checker)

    def clip_layers(self, model: Model) -> int:
        return int(model.pipe.text_encoder.config.num_hidden_layers)

    def encode(
        self, model: Model, prompt: str, negative: str, *, guidance: float, clip_skip: int, size: tuple[int, int]
    ) -> tuple[Condition, ...]:
        twice = self.runs_twice(model, guidance)
        if twice and clip_skip:  # The pipelines skip layers for the prompt alone.
            told, without = model.pipe.encode_prompt(
                prompt, model.device, 1, True, negative_prompt=negative, clip_skip=clip_skip
            )
        else:  # Both texts together take hardly longer than one.
            texts = [negative, prompt] if twice else [prompt]
            both = model.pipe.encode_prompt(texts, model.device, 1, False, clip_skip=clip_skip or None)[0]
            without, told = both[:1], both[-1:]
        extra = self.guidance_condition(model, guidance)
        positive = Condition({"text": told, **extra})
        return (Condition({"text": without, **extra}, Role.NEGATIVE), positive) if twice else (positive,)
