"""Writers of the file layouts that community sites distribute: one-file checkpoints, LoRA files, IP-Adapter files.

They turn a diffusers pipeline into the original key names, which is the inverse of what the engine's loader does.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

State = dict[str, torch.Tensor]

RESNET_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
UNET_BLOCK = re.compile(r"(down|up|mid)_blocks?\.?(\d+)?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def single_file_state(pipe: Any) -> State:
    """`pipe` as one checkpoint in its original layout: SD 1 or 2, SDXL or its refiner, SD3, Flux."""
    if hasattr(pipe, "transformer"):
        state = _sd3_file(pipe) if hasattr(pipe, "text_encoder_3") else _flux_file(pipe)
    else:
        state = {f"model.diffusion_model.{k}": v for k, v in _unet(pipe.unet).items()}
        state |= {f"first_stage_model.{k}": v for k, v in _vae(pipe.vae).items()}
        state |= _text_encoders(pipe)
    return {key: tensor.detach().clone().contiguous() for key, tensor in state.items()}


def _text_encoders(pipe: Any) -> State:
    if not hasattr(pipe, "text_encoder_2"):
        if pipe.unet.config.use_linear_projection:  # SD 2.x reads its text with OpenCLIP's encoder
            return _open_clip(pipe.text_encoder, "cond_stage_model.model.")
        return _clip(pipe.text_encoder, "cond_stage_model.transformer.")
    if pipe.text_encoder is None:
        return _open_clip(pipe.text_encoder_2, "conditioner.embedders.0.model.")
    first = _clip(pipe.text_encoder, "conditioner.embedders.0.transformer.")
    return first | _open_clip(pipe.text_encoder_2, "conditioner.embedders.1.model.")


def _unet(network: Any) -> State:
    return {_unet_key(network.config, key): tensor for key, tensor in network.state_dict().items()}


def _unet_key(config: Any, key: str) -> str:
    module, leaf = key.rsplit(".", 1)
    if module in UNET_ENDS:
        return f"{UNET_ENDS[module]}.{leaf}"
    match = UNET_BLOCK.match(key)
    assert match, key
    side, level, kind, place, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    per_level = config.layers_per_block + 1
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * per_level}.0.{rest.replace('conv', 'op', 1)}"
    if kind == "upsamplers":
        after_attention = "Attn" in config.up_block_types[level]
        return f"output_blocks.{level * per_level + per_level - 1}.{2 if after_attention else 1}.{rest}"
    sub = 0 if kind == "resnets" else 1
    base = {
        "down": f"input_blocks.{level * per_level + place + 1}.{sub}",
        "up": f"output_blocks.{level * per_level + place}.{sub}",
        "mid": f"middle_block.{2 * place + sub}",
    }[side]
    if kind == "resnets":
        part, leaf = rest.split(".", 1)
        rest = f"{RESNET_PARTS[part]}.{leaf}"
    return f"{base}.{rest}"


VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _vae(network: Any) -> State:
    levels = len(network.config.block_out_channels)
    out: State = {}
    for key, tensor in network.state_dict().items():
        key = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", key)
        key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
        key = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", key)
        key = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", key)
        key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
        attention = re.match(r"(.*)mid_block\.attentions\.0\.(.+)\.(weight|bias)$", key)
        if attention:
            key = f"{attention[1]}mid.attn_1.{VAE_ATTENTION[attention[2]]}.{attention[3]}"
            if attention[3] == "weight" and tensor.ndim == 2:
                tensor = tensor[:, :, None, None]  # The original attention is made of 1x1 convolutions.
        out[key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")] = tensor
    return out


def _clip(encoder: Any, prefix: str, *, projection: bool = False) -> State:
    state = {k if k.startswith("text_") else f"text_model.{k}": v for k, v in encoder.state_dict().items()}
    return {prefix + k: v for k, v in state.items() if projection or "text_projection" not in k}


OPEN_CLIP_LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def _open_clip(encoder: Any, prefix: str) -> State:
    state = {key.removeprefix("text_model."): tensor for key, tensor in encoder.state_dict().items()}
    out = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
    }
    if "text_projection.weight" in state:
        out["text_projection"] = state["text_projection.weight"].T
    for leaf in ("weight", "bias"):
        out[f"ln_final.{leaf}"] = state[f"final_layer_norm.{leaf}"]
        for i in range(encoder.config.num_hidden_layers):
            ours, theirs = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
            parts = [state[f"{ours}self_attn.{name}_proj.{leaf}"] for name in "qkv"]
            out[f"{theirs}attn.in_proj_{leaf}"] = torch.cat(parts)
            for new, old in OPEN_CLIP_LAYER.items():
                out[f"{theirs}{new}.{leaf}"] = state[f"{ours}{old}.{leaf}"]
    return {prefix + key: tensor for key, tensor in out.items()}


def write_configuration(pipe: Any, path: Path) -> None:
    """What a one-file checkpoint cannot say about a tiny model, in the format of inference/engine/configs."""
    components: dict[str, Any] = {}
    for name, part in pipe.components.items():
        if part is None or name in ("safety_checker", "feature_extractor", "image_encoder"):
            continue
        entry: dict[str, Any] = {"class": type(part).__name__}
        if name.startswith("tokenizer"):
            kind = "t5" if "T5" in entry["class"] else "openclip" if name == "tokenizer_2" else "clip"
            entry["tokenizer"] = kind
        else:
            config = part.config.to_dict() if hasattr(part.config, "to_dict") else dict(part.config)
            entry["config"] = json.loads(json.dumps(config, default=str))
        components[name] = entry
    options = {key: value for key, value in pipe.config.items() if isinstance(value, bool)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"options": options, "components": components}))


# --- SD3 and Flux -----------------------------------------------------------------------------------------------------


def _swap_halves(tensor: torch.Tensor) -> torch.Tensor:
    """The original final layer keeps (shift, scale), diffusers (scale, shift)."""
    first, second = tensor.chunk(2, dim=0)
    return torch.cat([second, first])


def _joined(state: State, names: list[str], leaf: str) -> torch.Tensor:
    return torch.cat([state[f"{name}.{leaf}"] for name in names])


def _sd3_file(pipe: Any) -> State:
    out = {f"model.diffusion_model.{k}": v for k, v in _sd3_transformer(pipe.transformer).items()}
    out |= {f"first_stage_model.{k}": v for k, v in _vae(pipe.vae).items()}
    out |= _clip(pipe.text_encoder, "text_encoders.clip_l.transformer.", projection=True)
    out |= _clip(pipe.text_encoder_2, "text_encoders.clip_g.transformer.", projection=True)
    t5 = {k: v for k, v in pipe.text_encoder_3.state_dict().items() if k != "encoder.embed_tokens.weight"}
    return out | {f"text_encoders.t5xxl.transformer.{k}": v for k, v in t5.items()}


def _sd3_transformer(network: Any) -> State:
    state = network.state_dict()
    names = {
        "pos_embed.proj": "x_embedder.proj",
        "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
        "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
        "context_embedder": "context_embedder",
        "proj_out": "final_layer.linear",
    }
    out = {"pos_embed": state["pos_embed.pos_embed"]}
    for leaf in ("weight", "bias"):
        out |= {f"{theirs}.{leaf}": state[f"{ours}.{leaf}"] for ours, theirs in names.items()}
        out[f"final_layer.adaLN_modulation.1.{leaf}"] = _swap_halves(state[f"norm_out.linear.{leaf}"])
        for i in range(network.config.num_layers):
            last = i == network.config.num_layers - 1
            out |= _sd3_block(state, i, leaf, last=last)
    for i in range(network.config.num_layers):
        out |= _sd3_norms(state, i)
    return out


def _sd3_block(state: State, i: int, leaf: str, *, last: bool) -> State:
    ours, theirs = f"transformer_blocks.{i}.", f"joint_blocks.{i}."
    x, context = f"{theirs}x_block.", f"{theirs}context_block."
    modulation = state[f"{ours}norm1_context.linear.{leaf}"]
    out = {
        f"{x}attn.qkv.{leaf}": _joined(state, [f"{ours}attn.to_{n}" for n in "qkv"], leaf),
        f"{context}attn.qkv.{leaf}": _joined(state, [f"{ours}attn.add_{n}_proj" for n in "qkv"], leaf),
        f"{x}attn.proj.{leaf}": state[f"{ours}attn.to_out.0.{leaf}"],
        f"{x}adaLN_modulation.1.{leaf}": state[f"{ours}norm1.linear.{leaf}"],
        f"{x}mlp.fc1.{leaf}": state[f"{ours}ff.net.0.proj.{leaf}"],
        f"{x}mlp.fc2.{leaf}": state[f"{ours}ff.net.2.{leaf}"],
        f"{context}adaLN_modulation.1.{leaf}": _swap_halves(modulation) if last else modulation,
    }
    if not last:
        out[f"{context}attn.proj.{leaf}"] = state[f"{ours}attn.to_add_out.{leaf}"]
        out[f"{context}mlp.fc1.{leaf}"] = state[f"{ours}ff_context.net.0.proj.{leaf}"]
        out[f"{context}mlp.fc2.{leaf}"] = state[f"{ours}ff_context.net.2.{leaf}"]
    if f"{ours}attn2.to_q.{leaf}" in state:
        out[f"{x}attn2.qkv.{leaf}"] = _joined(state, [f"{ours}attn2.to_{n}" for n in "qkv"], leaf)
        out[f"{x}attn2.proj.{leaf}"] = state[f"{ours}attn2.to_out.0.{leaf}"]
    return out


def _sd3_norms(state: State, i: int) -> State:
    ours, x = f"transformer_blocks.{i}.", f"joint_blocks.{i}.x_block."
    context = f"joint_blocks.{i}.context_block."
    names = {f"{ours}attn.norm_{n}.weight": f"{x}attn.ln_{n}.weight" for n in "qk"}
    names |= {f"{ours}attn.norm_added_{n}.weight": f"{context}attn.ln_{n}.weight" for n in "qk"}
    names |= {f"{ours}attn2.norm_{n}.weight": f"{x}attn2.ln_{n}.weight" for n in "qk"}
    return {theirs: state[mine] for mine, theirs in names.items() if mine in state}


FLUX_ENDS = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "proj_out": "final_layer.linear",
}
FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
}


def _flux_file(pipe: Any) -> State:
    out = {f"model.diffusion_model.{k}": v for k, v in flux_transformer_state(pipe.transformer).items()}
    out |= {f"vae.{k}": v for k, v in _vae(pipe.vae).items()}
    out |= _clip(pipe.text_encoder, "text_encoders.clip_l.transformer.")
    t5 = {k: v for k, v in pipe.text_encoder_2.state_dict().items() if k != "encoder.embed_tokens.weight"}
    return out | {f"text_encoders.t5xxl.transformer.{k}": v for k, v in t5.items()}


def flux_transformer_state(network: Any) -> State:
    """The transformer alone, as Black Forest Labs and most Flux fine-tunes distribute it."""
    state = network.state_dict()
    out: State = {}
    for leaf in ("weight", "bias"):
        present = {k: v for k, v in FLUX_ENDS.items() if f"{k}.{leaf}" in state}
        out |= {f"{theirs}.{leaf}": state[f"{ours}.{leaf}"] for ours, theirs in present.items()}
        out[f"final_layer.adaLN_modulation.1.{leaf}"] = _swap_halves(state[f"norm_out.linear.{leaf}"])
        for i in range(network.config.num_layers):
            ours, theirs = f"transformer_blocks.{i}.", f"double_blocks.{i}."
            out |= {f"{theirs}{new}.{leaf}": state[f"{ours}{old}.{leaf}"] for old, new in FLUX_DOUBLE.items()}
            out[f"{theirs}img_attn.qkv.{leaf}"] = _joined(state, [f"{ours}attn.to_{n}" for n in "qkv"], leaf)
            out[f"{theirs}txt_attn.qkv.{leaf}"] = _joined(state, [f"{ours}attn.add_{n}_proj" for n in "qkv"], leaf)
        for i in range(network.config.num_single_layers):
            ours, theirs = f"single_transformer_blocks.{i}.", f"single_blocks.{i}."
            out[f"{theirs}modulation.lin.{leaf}"] = state[f"{ours}norm.linear.{leaf}"]
            parts = [f"{ours}attn.to_{n}" for n in "qkv"] + [f"{ours}proj_mlp"]
            out[f"{theirs}linear1.{leaf}"] = _joined(state, parts, leaf)
            out[f"{theirs}linear2.{leaf}"] = state[f"{ours}proj_out.{leaf}"]
    return out | _flux_norms(network, state)


def _flux_norms(network: Any, state: State) -> State:
    out: State = {}
    for n, name in (("q", "query_norm"), ("k", "key_norm")):
        for i in range(network.config.num_layers):
            ours, theirs = f"transformer_blocks.{i}.attn.", f"double_blocks.{i}."
            out[f"{theirs}img_attn.norm.{name}.scale"] = state[f"{ours}norm_{n}.weight"]
            out[f"{theirs}txt_attn.norm.{name}.scale"] = state[f"{ours}norm_added_{n}.weight"]
        for i in range(network.config.num_single_layers):
            out[f"single_blocks.{i}.norm.{name}.scale"] = state[f"single_transformer_blocks.{i}.attn.norm_{n}.weight"]
    return out


# --- Adapters ---------------------------------------------------------------------------------------------------------


def _random_pair(generator: torch.Generator, rank: int, module: Any, std: float) -> tuple[torch.Tensor, torch.Tensor]:
    down = torch.randn(rank, module.in_features, generator=generator) * std
    return down, torch.randn(module.out_features, rank, generator=generator) * std


def kohya_lora_state(
    pipe: Any, *, rank: int = 4, text: bool = True, seed: int = 0, std: float = 0.1, alpha: float = 4.0
) -> State:
    """A random LoRA as the kohya trainer writes it, over the attention of the UNet and of the text encoders."""
    generator, state = torch.Generator().manual_seed(seed), State()
    targets = {f"lora_unet_{n}": m for n, m in pipe.unet.named_modules() if "attn" in n}
    if text:
        two = getattr(pipe, "text_encoder_2", None) is not None
        encoders = {"lora_te1_" if two else "lora_te_": pipe.text_encoder}
        if two:
            encoders["lora_te2_"] = pipe.text_encoder_2
        for prefix, encoder in encoders.items():
            targets |= {prefix + n: m for n, m in encoder.named_modules() if "self_attn" in n}
    for name, module in targets.items():
        if isinstance(module, torch.nn.Linear):
            down, up = _random_pair(generator, rank, module, std)
            key = name.replace(".", "_")
            state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(alpha)}
    return state


def diffusers_lora_state(
    pipe: Any, *, rank: int = 4, seed: int = 0, std: float = 0.1, targets: tuple[str, ...] = ("to_q", "to_v")
) -> State:
    """A random LoRA as diffusers' own training scripts write it (PEFT names), over the denoiser's attention."""
    generator, state = torch.Generator().manual_seed(seed), State()
    part = "transformer" if hasattr(pipe, "transformer") else "unet"
    for name, module in getattr(pipe, part).named_modules():
        if isinstance(module, torch.nn.Linear) and name.rsplit(".", 1)[-1] in targets:
            down, up = _random_pair(generator, rank, module, std)
            state |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    return state


def ip_adapter_state(network: Any, *, projection: int = 24, tokens: int = 4, seed: int = 0) -> State:
    """A random IP-Adapter of this UNet in the distributed layout: a projection and a key/value pair per attention."""
    generator = torch.Generator().manual_seed(seed)
    width = network.config.cross_attention_dim

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * 0.1

    state = {
        "image_proj.proj.weight": noise(width * tokens, projection),
        "image_proj.proj.bias": noise(width * tokens),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    number = 1  # The distributed files number the cross attentions 1, 3, 5, ...
    for name in network.attn_processors:
        if name.endswith("attn2.processor"):
            inner = network.get_submodule(name.removesuffix(".processor")).to_k.out_features
            state[f"ip_adapter.{number}.to_k_ip.weight"] = noise(inner, width)
            state[f"ip_adapter.{number}.to_v_ip.weight"] = noise(inner, width)
            number += 2
    return state
