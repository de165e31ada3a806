"""IP-Adapter: a picture as a prompt. Its tokens join the text in cross attention, through layers of its own.

File layout and picture encoders as in the IP-Adapter project (arXiv 2308.06721): a weight file, and beside it or one
folder above it an `image_encoder` folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.embeddings import ImageProjection
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from inference.engine.errors import RenderFailed
from inference.engine.families.sample import Model
from inference.engine.weightfile import State


@dataclass(frozen=True, eq=False, slots=True)
class FittedIPAdapter:
    """The adapter in one model: the projection of pictures, and the processor of each cross attention."""

    projection: torch.nn.Module
    processors: dict[str, Any]


@dataclass(eq=False, slots=True)
class IPAdapterFile:
    """`construction` guards making layers, which must not happen while a model is being built elsewhere."""

    label: str
    state: State
    encoder: Any
    construction: Callable[[], contextlib.AbstractContextManager[Any]]
    _fitted: dict[str, FittedIPAdapter] = field(default_factory=dict)

    def fitted(self, model: Model) -> FittedIPAdapter:
        if model.family.name not in self._fitted:
            self._fitted[model.family.name] = self._fit(model)
        return self._fitted[model.family.name]

    def _fit(self, model: Model) -> FittedIPAdapter:
        parts = {
            name: {k.removeprefix(f"{name}."): v for k, v in self.state.items() if k.startswith(f"{name}.")}
            for name in ("image_proj", "ip_adapter")
        }
        network = model.denoiser
        try:
            with self.construction():
                made = network._convert_ip_adapter_attn_to_diffusers([parts], low_cpu_mem_usage=False)
                projection = network._convert_ip_adapter_image_proj_to_diffusers(
                    parts["image_proj"], low_cpu_mem_usage=False
                )
        except Exception as error:  # The converters raise whatever a foreign layout makes them stumble over.
            message = f"{self.label} is no IP-Adapter for this model."
            raise RenderFailed(code="invalid_adapter", message=message) from error
        ours = {name: processor for name, processor in made.items() if hasattr(processor, "to_k_ip")}
        for module in (projection, *ours.values()):
            module.to(model.device, model.dtype).eval().requires_grad_(False)
        return FittedIPAdapter(projection, ours)

    @torch.inference_mode()
    def tokens(self, model: Model, picture: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """The picture's tokens and those of no picture, each 1 x 1 x tokens x width."""
        side = self.encoder.config.image_size
        processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        pixels = processor(picture.convert("RGB"), return_tensors="pt").pixel_values.to(model.device, model.dtype)
        projection = self.fitted(model).projection
        if isinstance(projection, ImageProjection):
            told = self.encoder(pixels).image_embeds
            nothing = torch.zeros_like(told)
        else:  # The "plus" adapters read the encoder's last layers instead of its summary.
            told = self.encoder(pixels, output_hidden_states=True).hidden_states[-2]
            nothing = self.encoder(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
        return projection(told)[:, None], projection(nothing)[:, None]


@dataclass(frozen=True, slots=True)
class IPAdapterDress:
    """The adapter's processors in the network's cross attentions, at one strength."""

    file: IPAdapterFile
    fitted: FittedIPAdapter
    scale: float

    @property
    def key(self) -> Hashable:
        return ("ip_adapter", self.file.label, self.scale)

    @contextlib.contextmanager
    def worn(self, network: Any) -> Iterator[None]:
        layers = {name: network.get_submodule(name.removesuffix(".processor")) for name in self.fitted.processors}
        before = {name: layer.processor for name, layer in layers.items()}
        try:
            for name, processor in self.fitted.processors.items():
                processor.scale = [self.scale]
                layers[name].set_processor(processor)
            yield
        finally:
            for name, layer in layers.items():
                layer.set_processor(before[name])
