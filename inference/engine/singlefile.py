"""One-file checkpoints, as community sites distribute them: which layout a file has, and its parts in diffusers' names.

What a file cannot say (the configuration) comes from `configs/<layout>.json`; the rest is told by its tensor names and
shapes. The conversions of UNet, VAE, OpenCLIP and SD3 are diffusers' own; Flux's derives its sizes from the file.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
    convert_sd3_transformer_checkpoint_to_diffusers,
)

from inference.engine import fluxfile, sources
from inference.engine.errors import RenderFailed
from inference.engine.weightfile import State

Shapes = Mapping[str, tuple[int, ...]]
NETWORK = "model.diffusion_model."
FAMILY_OF_LAYOUT = {
    "sd15": "sd15",
    "sd2": "sd15",
    "sdxl": "sdxl",
    "sdxl-refiner": "sdxl",
    "sd3-medium": "sd3",
    "sd35-medium": "sd3",
    "sd35-large": "sd3",
    "flux-dev": "flux",
    "flux-schnell": "flux",
}
CLIP_PREFIXES = {
    "text_encoder": (
        "cond_stage_model.transformer.",
        "conditioner.embedders.0.transformer.",
        "text_encoders.clip_l.transformer.",
    ),
    "text_encoder_2": ("text_encoders.clip_g.transformer.", "text_encoders.t5xxl.transformer."),
    "text_encoder_3": ("text_encoders.t5xxl.transformer.",),
}
OPEN_CLIP_PREFIXES = {
    "text_encoder": ("cond_stage_model.model.",),
    "text_encoder_2": ("conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
}


def sniff(shapes: Shapes) -> str:
    """The layout of a checkpoint, by the names of its tensors."""
    bare = {name.removeprefix(NETWORK) for name in shapes}
    if "double_blocks.0.img_attn.qkv.weight" in bare:
        return "flux-dev" if "guidance_in.in_layer.weight" in bare else "flux-schnell"
    if "joint_blocks.0.x_block.attn.qkv.weight" in bare:
        return _sniff_sd3(bare)
    if f"{NETWORK}input_blocks.0.0.weight" not in shapes:
        raise RenderFailed(code="unsupported_model", message="The file is no checkpoint of a known family of models.")
    if any(name.startswith("conditioner.embedders.1.") for name in shapes):
        return "sdxl"
    if any(name.startswith("conditioner.embedders.0.model.") for name in shapes):
        return "sdxl-refiner"
    return "sd2" if any(name.startswith("cond_stage_model.model.") for name in shapes) else "sd15"


def _sniff_sd3(bare: set[str]) -> str:
    if "joint_blocks.0.x_block.attn2.qkv.weight" in bare:
        return "sd35-medium"
    return "sd35-large" if "joint_blocks.0.x_block.attn.ln_q.weight" in bare else "sd3-medium"


def configuration(configs_dir: Path, layout: str) -> dict[str, Any]:
    """`components` (class, config and where else to look, by name) and `options` of the pipeline."""
    content = sources.read_json(configs_dir / f"{layout}.json")
    if "like" in content:
        base = configuration(configs_dir, content["like"])
        for name, changes in content.get("components", {}).items():
            own = base["components"][name]
            own |= changes | {"config": own.get("config", {}) | changes.get("config", {})}
        return base
    return content


def part(name: str, class_name: str, config: dict[str, Any], state: State) -> tuple[dict[str, Any], State]:
    """The component `name` of a checkpoint: its configuration and weights; no weights where the file has none."""
    if class_name == "UNet2DConditionModel":
        channels = state[f"{NETWORK}input_blocks.0.0.weight"].shape[1]  # 9 for inpainting networks
        config = config | {"in_channels": channels}
        return config, convert_ldm_unet_checkpoint(_starting(state, NETWORK, keep=True), config)
    if class_name == "AutoencoderKL":
        present = any(key.startswith(("first_stage_model.", "vae.")) for key in state)
        return config, convert_ldm_vae_checkpoint(state, config) if present else {}
    if class_name == "SD3Transformer2DModel":
        return config, convert_sd3_transformer_checkpoint_to_diffusers(_starting(state, NETWORK))
    if class_name == "FluxTransformer2DModel":
        return config, fluxfile.convert(_starting(state, NETWORK) or dict(state))
    return config, _text_encoder(name, config, state)


def _text_encoder(name: str, config: dict[str, Any], state: State) -> State:
    for prefix in CLIP_PREFIXES.get(name, ()):
        found = _starting(state, prefix)
        if found:
            return found
    for prefix in OPEN_CLIP_PREFIXES.get(name, ()):
        if f"{prefix}token_embedding.weight" in state:
            shell = types.SimpleNamespace(config=types.SimpleNamespace(hidden_size=config["hidden_size"]))
            converted: State = convert_open_clip_checkpoint(shell, state, prefix=prefix)
            return converted
    return {}


def _starting(state: State, prefix: str, *, keep: bool = False) -> State:
    return {k if keep else k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def lone_component(class_name: str, state: State, configs_dir: Path) -> tuple[dict[str, Any], State]:
    """A VAE or ControlNet that stands alone in a file, in the original or in diffusers' names."""
    if class_name == "AutoencoderKL":
        return _lone_vae(state, configs_dir)
    layout = "sdxl" if any("label_emb" in key or "add_embedding" in key for key in state) else "sd15"
    unet = configuration(configs_dir, layout)["components"]["unet"]["config"]
    config = _controlnet_config(unet, state)
    if any(key.startswith("controlnet_cond_embedding") for key in state):
        return config, state
    return config, convert_controlnet_checkpoint(state, config)


def _lone_vae(state: State, configs_dir: Path) -> tuple[dict[str, Any], State]:
    state = {key.removeprefix("first_stage_model."): tensor for key, tensor in state.items()}
    conv_in = state.get("decoder.conv_in.weight")
    if conv_in is None:
        raise RenderFailed(code="model_unreadable", message="The file holds no autoencoder.")
    layout = {4: "sd15", 16: "flux-dev"}.get(conv_in.shape[1], "sd15")
    config = configuration(configs_dir, layout)["components"]["vae"]["config"]
    if any(key.startswith("encoder.down_blocks") for key in state):
        return config, state
    return config, convert_ldm_vae_checkpoint(state, config)


def _controlnet_config(unet: dict[str, Any], state: State) -> dict[str, Any]:
    """A ControlNet has the layout of its UNet's first half."""
    unused = ("up_block_types", "out_channels", "sample_size", "center_input_sample", "in_channels")
    config = {key: value for key, value in unet.items() if key not in unused and not key.startswith("_")}
    blocks = [key for key in state if key.startswith("controlnet_cond_embedding.blocks.") and key.endswith("weight")]
    first = state.get("controlnet_cond_embedding.conv_in.weight")
    if first is not None:
        widths = [first.shape[0]] + [state[key].shape[0] for key in sorted(blocks, key=_block_number)[1::2]]
        config["conditioning_embedding_out_channels"] = widths
    return config | {"in_channels": 4}


def _block_number(key: str) -> int:
    return int(key.split(".")[2])
