"""Stable Diffusion 1.x and 2.x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from inference.engine.families.base import Condition, Model, Role, Text
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

    def encode(self, model: Model, texts: Sequence[Text]) -> list[tuple[Condition, ...]]:
        """Equal words are read once. As in the pipelines, layers are skipped for the prompt alone."""
        wanted = [(text.prompt, text.clip_skip) for text in texts]
        wanted += [(text.negative, 0) for text in texts if self.runs_twice(model, text.guidance)]
        read: dict[tuple[str, int], torch.Tensor] = {}
        for clip_skip in {skip for _, skip in wanted}:
            words = list(dict.fromkeys(words for words, skip in wanted if skip == clip_skip))
            told = model.pipe.encode_prompt(words, model.device, 1, False, clip_skip=clip_skip or None)[0]
            read |= {(one, clip_skip): tensor for one, tensor in zip(words, told.split(1), strict=True)}
        return [self._conditions(model, text, read) for text in texts]

    def _conditions(self, model: Model, text: Text, read: dict[tuple[str, int], torch.Tensor]) -> tuple[Condition, ...]:
        extra = self.guidance_condition(model, text.guidance)
        positive = Condition({"text": read[text.prompt, text.clip_skip], **extra})
        if not self.runs_twice(model, text.guidance):
            return (positive,)
        return Condition({"text": read[text.negative, 0], **extra}, Role.NEGATIVE), positive
