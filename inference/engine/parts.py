"""What a job needs in memory, by kind and source, and how each kind is loaded.

A part is loaded once and borrowed by every job that names it. Pictures and jobs are not its business.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from inference.engine import background, sources, upscale
from inference.engine.errors import RenderFailed
from inference.engine.families import embeddings, lora
from inference.engine.families.ip_adapter import IPAdapterFile
from inference.engine.loading import CONSTRUCTION, Loader
from inference.engine.safety import SafetyChecker
from inference.engine.spec import Family, ModelRef
from inference.engine.weightfile import SUFFIXES, State, read_state


class PartKind(enum.StrEnum):
    MODEL = "model"
    CONTROLNET = "controlnet"
    VAE = "vae"
    LORA = "lora"
    EMBEDDING = "embedding"
    IP_ADAPTER = "ip_adapter"
    UPSCALER = "upscaler"
    BACKGROUND = "background"
    SAFETY = "safety"


@dataclass(frozen=True, slots=True)
class PartRef:
    """Two jobs with equal references share the part. `name` is what callers call it, where that is not its source."""

    kind: PartKind
    source: str
    model: ModelRef | None = None
    name: str = ""

    @property
    def label(self) -> str:
        return self.model.model_id if self.model else self.name or self.source


def part_of(ref: ModelRef) -> PartRef:
    """The part that a catalogue's model is: a base model, an upscaler, a background model, a safety checker."""
    kinds = {
        Family.UPSCALER: PartKind.UPSCALER,
        Family.BACKGROUND: PartKind.BACKGROUND,
        Family.SAFETY: PartKind.SAFETY,
    }
    if ref.family in kinds:
        return PartRef(kinds[ref.family], ref.source, name=ref.model_id)
    return PartRef(PartKind.MODEL, ref.source, ref)


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
            PartKind.LORA: self._lora,
            PartKind.EMBEDDING: self._embedding,
            PartKind.IP_ADAPTER: self._ip_adapter,
            PartKind.UPSCALER: self._upscaler,
            PartKind.BACKGROUND: self._background,
            PartKind.SAFETY: self._safety,
        }

    def load(self, ref: PartRef) -> Part:
        return self._kinds[ref.kind](ref)

    def estimate_bytes(self, ref: PartRef) -> int:
        """What the part will take, from its files' headers. Raises RenderFailed when the files are unusable."""
        settings, item_bytes = self.loader.settings, self.loader.dtype.itemsize
        if ref.model:
            path = sources.locate(settings, ref.source, revision=ref.model.revision, variant=ref.model.variant)
            return sources.estimate_bytes(path, item_bytes, ref.model.variant)
        if ref.kind in (PartKind.CONTROLNET, PartKind.VAE):
            return sources.estimate_bytes(self._path(ref), item_bytes)
        path = self._path(ref)
        files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*/*.safetensors")]
        return sum(file.stat().st_size for file in files)

    def _model(self, ref: PartRef) -> Part:
        if ref.model is None:
            raise RenderFailed(code="unsupported_model", message=f"{ref.source} is no base model.")
        model = self.loader.model(ref.model)
        networks = tuple(part for part in model.pipe.components.values() if isinstance(part, torch.nn.Module))
        return Part(model, networks)

    def _network(self, ref: PartRef, class_name: str) -> Part:
        network = self.loader.component(ref.source, class_name)
        return Part(network, (network,))

    def _path(self, ref: PartRef) -> Path:
        return sources.locate(self.loader.settings, ref.source)

    def _lora(self, ref: PartRef) -> Part:
        file = _weight_file(self._path(ref))
        state = lora.apply_metadata(read_state(file), sources.lora_metadata(file))
        return Part(lora.LoraFile(Path(ref.source).stem, state), other_bytes=_state_bytes(state))

    def _embedding(self, ref: PartRef) -> Part:
        file = _weight_file(self._path(ref))
        return Part(embeddings.read_embedding(ref.name, embeddings.flattened(file)))

    def _ip_adapter(self, ref: PartRef) -> Part:
        """The weight file, and the picture encoder beside it or one folder above."""
        path = self._path(ref)
        file = _weight_file(path)
        folders = (path / "image_encoder", file.parent / "image_encoder", file.parent.parent / "image_encoder")
        encoder_dir = next((folder for folder in folders if (folder / "config.json").is_file()), None)
        if encoder_dir is None:
            message = f"The IP-Adapter {file.name} has no folder image_encoder beside it."
            raise RenderFailed(code="model_missing", message=message)
        encoder = self.loader.component(str(encoder_dir.absolute()), "CLIPVisionModelWithProjection")
        state = read_state(file)
        value = IPAdapterFile(Path(ref.source).stem, state, encoder, lambda: CONSTRUCTION)
        return Part(value, (encoder,), _state_bytes(state))

    def _upscaler(self, ref: PartRef) -> Part:
        path = self._path(ref)
        with CONSTRUCTION:
            upscaler = upscale.load(_weight_file(path), device=str(self.loader.device), dtype=self.loader.dtype)
        return Part(upscaler, (upscaler.network,))

    def _background(self, ref: PartRef) -> Part:
        with CONSTRUCTION:
            model = background.load(self._path(ref), device=str(self.loader.device))
        return Part(model, (model.network,))

    def _safety(self, ref: PartRef) -> Part:
        """In float32: the libraries that load it would change the process's default dtype for another one."""
        with CONSTRUCTION:
            checker = SafetyChecker.load(self._path(ref), str(self.loader.device))
        return Part(checker, (checker.network,))


def _weight_file(path: Path) -> Path:
    """The file itself, or the only weight file in the folder."""
    if path.is_file():
        return path
    files = [file for suffix in SUFFIXES for file in sorted(path.glob(f"*{suffix}"))]
    if not files:
        raise RenderFailed(code="model_missing", message=f"The folder {path.name} holds no weights.")
    return files[0]


def _state_bytes(state: State) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())
