"""Turns files into loaded models: components are built empty, then filled, every tensor exactly once.

It does not use the libraries' `from_pretrained`, which changes torch's default dtype for the whole process while it
works: the device's thread must keep computing meanwhile. Only weights are read; code beside them is never run.
"""

from __future__ import annotations

import hashlib
import json
import threading
import weakref
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights

from inference.engine import singlefile, sources
from inference.engine.errors import RenderFailed
from inference.engine.families import Model, family_of, speed
from inference.engine.schedulers import CLASSES as SCHEDULERS
from inference.engine.settings import EngineSettings
from inference.engine.spec import ModelRef
from inference.engine.weightfile import State, read_state

# `init_empty_weights` patches how every module of the process registers parameters: one construction at a time.
CONSTRUCTION = threading.RLock()
DIFFUSERS_MODELS: dict[str, Any] = {
    name: getattr(diffusers, name)
    for name in (
        "AutoencoderKL",
        "AutoencoderTiny",
        "ControlNetModel",
        "FluxControlNetModel",
        "FluxTransformer2DModel",
        "SD3ControlNetModel",
        "SD3Transformer2DModel",
        "UNet2DConditionModel",
    )
}
TRANSFORMERS_MODELS: dict[str, Any] = {
    name: getattr(transformers, name)
    for name in ("CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModelWithProjection", "T5EncoderModel")
}
TOKENIZERS: dict[str, Any] = {
    "CLIPTokenizer": transformers.CLIPTokenizer,
    "CLIPTokenizerFast": transformers.CLIPTokenizer,
    "T5Tokenizer": transformers.T5TokenizerFast,
    "T5TokenizerFast": transformers.T5TokenizerFast,
}
# What a folder may hold where the first is asked for.
INTERCHANGEABLE = {
    "AutoencoderKL": ("AutoencoderTiny",),
    "ControlNetModel": ("FluxControlNetModel", "SD3ControlNetModel"),
}
# Optional parts of pipelines that the engine brings itself, or not at all.
UNUSED = ("safety_checker", "feature_extractor", "image_encoder", "watermark")
# Buffers that old files list and new classes compute.
IGNORED_KEYS = ("position_ids", "encoder.embed_tokens.weight", "logit_scale")


class Loader:
    """Loads models for one device and dtype, and lets equal components of different models be one."""

    def __init__(self, settings: EngineSettings, device: torch.device, dtype: torch.dtype) -> None:
        self.settings, self.device, self.dtype = settings, device, dtype
        self._components: weakref.WeakValueDictionary[str, torch.nn.Module] = weakref.WeakValueDictionary()

    def model(self, ref: ModelRef) -> Model:
        path = sources.locate(self.settings, ref.source, revision=ref.revision, variant=ref.variant)
        family = family_of(ref.family)
        if path.is_file():
            parts, options = self._from_file(path, ref)
            variant = "FluxKontextPipeline" if "kontext" in path.name.lower() else ""
        else:
            parts, options = self._from_folder(path, ref)
            variant = str(sources.read_json(path / "model_index.json").get("_class_name", ""))
        if ref.prediction_type:
            scheduler = parts["scheduler"]
            settings = {"prediction_type": ref.prediction_type}
            if ref.prediction_type == "v_prediction" and "rescale_betas_zero_snr" in scheduler.config:
                settings["rescale_betas_zero_snr"] = scheduler.config.rescale_betas_zero_snr
            parts["scheduler"] = type(scheduler).from_config(scheduler.config, **settings)
        pipe = family.assemble(parts, options)
        speed.prepare(parts[family.denoiser], self.settings)
        return Model(ref.model_id, family, pipe, self.device, self.dtype, variant)

    def component(self, source: str, class_name: str) -> torch.nn.Module:
        """One network alone, from its own folder: a ControlNet, a VAE, a picture encoder."""
        path = sources.locate(self.settings, source)
        if path.is_file():
            return self._single_component(path, class_name)
        named = sources.read_json(path / "config.json").get("_class_name", class_name)
        if named in INTERCHANGEABLE.get(class_name, ()):
            class_name = named
        return self._part(path, class_name, None)

    # --- Folders ------------------------------------------------------------------------------------------------------

    def _from_folder(self, folder: Path, ref: ModelRef) -> tuple[dict[str, Any], dict[str, Any]]:
        index = sources.read_json(folder / "model_index.json")
        parts: dict[str, Any] = {}
        for name, entry in index.items():
            if isinstance(entry, list) and len(entry) == 2 and entry[1] is not None and name not in UNUSED:
                parts[name] = self._part(folder / name, str(entry[1]), ref.variant)
        options = {key: value for key, value in index.items() if isinstance(value, bool)}
        return parts, options

    def _part(self, folder: Path, class_name: str, variant: str | None) -> Any:
        if class_name in TOKENIZERS:
            return read_tokenizer(folder, class_name)
        if class_name in SCHEDULERS:
            return SCHEDULERS[class_name].from_config(sources.read_json(folder / "scheduler_config.json"))
        if class_name not in DIFFUSERS_MODELS and class_name not in TRANSFORMERS_MODELS:
            message = f"{folder.parent.name} needs a {class_name}, which this engine does not know."
            raise RenderFailed(code="unsupported_model", message=message)
        config = sources.read_json(folder / "config.json")
        state: State = {}
        for file in sources.weight_files(folder, variant):
            state |= read_state(file)
        return self.build(class_name, config, state, folder.name)

    # --- Single files -------------------------------------------------------------------------------------------------

    def _from_file(self, path: Path, ref: ModelRef) -> tuple[dict[str, Any], dict[str, Any]]:
        if path.suffix != ".safetensors":
            message = f"{path.name} is no .safetensors file; pickled checkpoints are refused because they can run code."
            raise RenderFailed(code="model_unreadable", message=message)
        layout = singlefile.sniff(sources.header(path))
        if singlefile.FAMILY_OF_LAYOUT[layout] != ref.family:
            message = f"{path.name} is a model of the family {singlefile.FAMILY_OF_LAYOUT[layout]}, not {ref.family}."
            raise RenderFailed(code="model_unreadable", message=message)
        told = singlefile.configuration(self.settings.configs_dir, layout)
        state = read_state(path)
        parts = {name: self._file_part(name, entry, state, path) for name, entry in told["components"].items()}
        return parts, told["options"]

    def _file_part(self, name: str, entry: dict[str, Any], state: State, path: Path) -> Any:
        class_name = entry["class"]
        if class_name in TOKENIZERS:
            return self._tokenizer(entry["tokenizer"], class_name)
        if class_name in SCHEDULERS:
            return SCHEDULERS[class_name].from_config(entry["config"])
        config, weights = singlefile.part(name, class_name, entry["config"], state)
        if weights:
            return self.build(class_name, config, weights, f"{name} of {path.name}")
        beside = self.settings.model_dir / "components" / entry.get("beside", name)
        if beside.is_dir():
            return self._part(beside, class_name, None)
        if entry.get("optional"):
            return None
        message = f"{path.name} has no {name}, and there is no folder components/{beside.name} in the model folder."
        raise RenderFailed(code="model_missing", message=message)

    def _tokenizer(self, kind: str, class_name: str) -> Any:
        """A single file holds none, so all single files share those of the model folder."""
        folder = (self.settings.tokenizers_dir or self.settings.model_dir / "tokenizers") / kind
        if not folder.is_dir():
            message = f"A single file holds no tokenizer: put one into the model folder as tokenizers/{kind}."
            raise RenderFailed(code="model_missing", message=message)
        return read_tokenizer(folder, class_name)

    def _single_component(self, path: Path, class_name: str) -> torch.nn.Module:
        config, weights = singlefile.lone_component(class_name, read_state(path), self.settings.configs_dir)
        return self.build(class_name, config, weights, path.name)

    # --- Building -----------------------------------------------------------------------------------------------------

    def build(self, class_name: str, config: dict[str, Any], state: State, what: str) -> torch.nn.Module:
        """The network of this configuration with these weights; an equal one that is already loaded is shared."""
        diffuser = class_name in DIFFUSERS_MODELS
        cls = DIFFUSERS_MODELS[class_name] if diffuser else TRANSFORMERS_MODELS[class_name]
        state = fixed_keys(class_name, state)
        key = _fingerprint(class_name, config, state)
        shared = self._components.get(key)
        if shared is not None:
            return shared
        try:
            with CONSTRUCTION, init_empty_weights():
                network = cls.from_config(config) if diffuser else cls(cls.config_class(**config))
        except (TypeError, ValueError, KeyError) as error:
            message = f"The configuration of {what} cannot be used: {error}"
            raise RenderFailed(code="model_unreadable", message=message) from error
        if diffuser:
            network._fix_state_dict_keys_on_load(state)
        self._fill(network, state, what, self._dtype_for(class_name, config))
        network.eval().requires_grad_(False)
        self._settle(network, self._dtype_for(class_name, config))
        self._components[key] = network
        return network

    def _dtype_for(self, class_name: str, config: dict[str, Any]) -> torch.dtype:
        """Autoencoders that overflow in float16 say so in their configuration."""
        overflows = class_name == "AutoencoderKL" and config.get("force_upcast", False)
        return torch.float32 if overflows and self.dtype == torch.float16 else self.dtype

    def _fill(self, network: Any, state: State, what: str, dtype: torch.dtype) -> None:
        keep = tuple(getattr(network, "_keep_in_fp32_modules", None) or ()) if dtype == torch.float16 else ()

        def dtype_of(name: str) -> torch.dtype:
            return torch.float32 if any(f".{part}." in name for part in keep) else dtype

        cast = {name: _cast(tensor, dtype_of(name)) for name, tensor in state.items()}
        try:
            missing, unexpected = network.load_state_dict(cast, strict=False, assign=True)
        except RuntimeError as error:
            message = f"The weights of {what} do not fit: {str(error).splitlines()[-1].strip()}"
            raise RenderFailed(code="model_unreadable", message=message) from error
        if hasattr(network, "tie_weights"):
            network.tie_weights()
        missing = [key for key in missing if not key.endswith(IGNORED_KEYS)]
        unexpected = [key for key in unexpected if not key.endswith(IGNORED_KEYS)]
        if missing or unexpected:
            message = f"The weights of {what} do not fit: {len(missing)} missing, {len(unexpected)} unknown"
            example = (missing or unexpected)[0]
            raise RenderFailed(code="model_unreadable", message=f"{message} (such as {example}).")

    def _settle(self, network: torch.nn.Module, dtype: torch.dtype) -> None:
        """Onto the device. Only floating-point buffers are cast: parameters have their dtype already."""
        for module in network.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if buffer.is_floating_point() and buffer.dtype != dtype:
                    module._buffers[name] = buffer.to(dtype)
        network.to(self.device, memory_format=speed.memory_format(network, self.settings, self.device))


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Always a copy: a tensor of a mapped file would change, or kill the process, when the file does."""
    return tensor.to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()


def fixed_keys(class_name: str, state: State) -> State:
    """Newer writers leave out the `text_model.` prefix of CLIP's text encoders; the class here wants it.

    Some files bring a projection that only the class with projection has.
    """
    if class_name == "CLIPTextModel":
        state = {key: tensor for key, tensor in state.items() if not key.startswith("text_projection")}
    if not class_name.startswith("CLIPText") or any(key.startswith("text_model.") for key in state):
        return state
    return {key if key.startswith("text_projection") else f"text_model.{key}": state[key] for key in state}


def _fingerprint(class_name: str, config: dict[str, Any], state: State) -> str:
    """Equal for equal components: class, configuration, and numbers sampled from every tensor.

    Training or merging changes a tensor nearly everywhere, so 64 numbers of each tell two versions apart.
    """
    told = {key: value for key, value in config.items() if not key.startswith(("_", "transformers_version"))}
    digest = hashlib.sha256(f"{class_name} {json.dumps(told, sort_keys=True, default=str)}".encode())
    for name in sorted(state):
        flat = state[name].flatten()
        sample = flat[:: max(len(flat) // 64, 1)].double().numpy().tobytes()
        digest.update(f"{name} {tuple(state[name].shape)} {state[name].dtype}".encode() + sample)
    return digest.hexdigest()


def read_tokenizer(folder: Path, class_name: str) -> Any:
    try:
        tokenizer = TOKENIZERS[class_name].from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # The library raises many types for missing and damaged files.
        message = f"The tokenizer in {folder.parent.name}/{folder.name} cannot be read: {type(error).__name__}."
        raise RenderFailed(code="model_unreadable", message=message) from error
    # transformers puts a decoder of its own onto CLIP's, which then refers to itself where Python's collector cannot
    # look: every tokenizer ever loaded would stay in memory. Nothing is decoded here.
    vars(tokenizer.backend_tokenizer).pop("decode", None)
    return tokenizer
