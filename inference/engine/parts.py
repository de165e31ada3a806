"""What a job needs in memory, by kind and source, and how each kind is loaded.

A part is loaded once and borrowed by every job that names it. Pictures and jobs are not its business.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from inference.engine import sources
from inference.engine.errors import RenderFailed
from inference.engine.loading import Loader
from inference.engine.spec import ModelRef


class PartKind(enum.StrEnum):
    MODEL = "model"
    CONTROLNET = "controlnet"
    VAE = "vae"


@dataclass(frozen=True, slots=True)
class PartRef:
    """Two jobs with equal references share the part. `model` is set for base models alone."""

    kind: PartKind
    source: str
    model: ModelRef | None = None

    @property
    def label(self) -> str:
        return self.model.model_id if self.model else self.source


@dataclass(eq=False, slots=True)
class Part:
    """A loaded part: what jobs use of it, and the networks by which its memory is counted."""

    value: Any
    networks: tuple[torch.nn.Module, ...] = ()
    other_bytes: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    """Bytes by the network's identity: parts that share a network count it once."""

    def __post_init__(self) -> None:
        self.sizes = {id(network): network_bytes(network) for network in self.networks}


def network_bytes(network: torch.nn.Module) -> int:
    """Parameters and buffers, each storage once."""
    tensors = [*network.parameters(), *network.buffers()]
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())


class PartLoader:
    """Loads any part for one device. Called on the loader's thread."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self._kinds: dict[PartKind, Callable[[PartRef], Part]] = {
            PartKind.MODEL: self._model,
            PartKind.CONTROLNET: lambda ref: self._network(ref, "ControlNetModel"),
            PartKind.VAE: lambda ref: self._network(ref, "AutoencoderKL"),
        }

    def load(self, ref: PartRef) -> Part:
        return self._kinds[ref.kind](ref)

    def estimate_bytes(self, ref: PartRef) -> int:
        """What the part will take, from its files' headers. Raises RenderFailed when the files are unusable."""
        settings, item_bytes = self.loader.settings, self.loader.dtype.itemsize
        if ref.model:
            path = sources.locate(settings, ref.source, revision=ref.model.revision, variant=ref.model.variant)
            return sources.estimate_bytes(path, item_bytes, ref.model.variant)
        return sources.estimate_bytes(sources.locate(settings, ref.source), item_bytes)

    def _model(self, ref: PartRef) -> Part:
        if ref.model is None:
            raise RenderFailed(code="unsupported_model", message=f"{ref.source} is no base model.")
        model = self.loader.model(ref.model)
        networks = tuple(part for part in model.pipe.components.values() if isinstance(part, torch.nn.Module))
        return Part(model, networks)

    def _network(self, ref: PartRef, class_name: str) -> Part:
        network = self.loader.component(ref.source, class_name)
        return Part(network, (network,))
