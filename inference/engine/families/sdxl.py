"""Stable Diffusion XL: base, fine-tunes, turbo, and the refiner (which only works on a picture)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline

from inference.engine.errors import RenderFailed
from inference.engine.families.base import Batch, Condition, Model, Role, Start, Text, read_alike
from inference.engine.families.unet import UNetFamily

# The refiner's aesthetic scores, for the prompt and for the negative prompt (defaults of diffusers' refiner pipeline).
GOOD, BAD = 6.0, 2.5


class StableDiffusionXL(UNetFamily):
    name = "sdxl"
    pipeline = StableDiffusionXLPipeline
    components = ("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "scheduler")
    optional = ("text_encoder", "tokenizer")

    def assemble(self, parts: dict[str, Any], options: dict[str, bool]) -> Any:
        self.check(parts)
        zeros = options.get("force_zeros_for_empty_prompt", True)
        named = {name: parts.get(name) for name in self.components}
        return self.pipeline(**named, force_zeros_for_empty_prompt=zeros, add_watermarker=False)

    def clip_layers(self, model: Model) -> int:
        encoders = (model.pipe.text_encoder, model.pipe.text_encoder_2)
        return min(int(encoder.config.num_hidden_layers) for encoder in encoders if encoder is not None)

    def encode(self, model: Model, texts: Sequence[Text]) -> list[tuple[Condition, ...]]:
        """Those together that the pipeline reads in the same way."""

        def way(text: Text) -> Hashable:
            return self.runs_twice(model, text.guidance), bool(text.negative), text.clip_skip

        return read_alike(texts, way, lambda alike: self._read(model, alike))

    def _read(self, model: Model, texts: Sequence[Text]) -> list[tuple[Condition, ...]]:
        twice = self.runs_twice(model, texts[0].guidance)
        told, without, pooled, pooled_without = model.pipe.encode_prompt(
            prompt=[text.prompt for text in texts],
            device=model.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=twice,
            # Without one, SDXL is guided away from zeros, not from "".
            negative_prompt=[text.negative for text in texts] if texts[0].negative else None,
            clip_skip=texts[0].clip_skip or None,
        )
        conditions: list[tuple[Condition, ...]] = []
        for place, text in enumerate(texts):
            row = slice(place, place + 1)
            extra = self.guidance_condition(model, text.guidance)
            ids = {"ids": self._size_ids(model, text.size, GOOD).to(told)}
            positive = Condition({"text": told[row], "pooled": pooled[row], **ids, **extra})
            if not twice:
                conditions.append((positive,))
                continue
            bad_ids = {"ids": self._size_ids(model, text.size, BAD).to(told)}
            negative = {"text": without[row], "pooled": pooled_without[row], **bad_ids, **extra}
            conditions.append((Condition(negative, Role.NEGATIVE), positive))
        return conditions

    def added(self, batch: Batch) -> dict[str, Any]:
        return {"text_embeds": batch.told["pooled"], "time_ids": batch.told["ids"]}

    def start(self, model: Model, start: Start) -> Any:
        if is_refiner(model) and start.image is None and start.latents is None:
            message = "A refiner only works on a picture: use image-to-image, or another model."
            raise RenderFailed(code="unsupported_operation", message=message)
        return super().start(model, start)

    def _size_ids(self, model: Model, size: tuple[int, int], score: float) -> torch.Tensor:
        """Original size, crop corner and target size, as height and width; the refiner takes a score for the last."""
        width_px, height_px = size
        last = [score] if is_refiner(model) else [height_px, width_px]
        return torch.tensor([[height_px, width_px, 0, 0, *last]])


def is_refiner(model: Model) -> bool:
    return model.pipe.text_encoder is None
