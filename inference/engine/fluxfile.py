"""The Flux transformer's original names, turned into diffusers'. Sizes come from the tensors, so any width converts.

Correspondence as in diffusers' `convert_flux_transformer_checkpoint_to_diffusers`, which only knows the full size.
"""

from __future__ import annotations

import re

import torch

from inference.engine.weightfile import State

ENDS = {
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "txt_in": "context_embedder",
    "img_in": "x_embedder",
    "final_layer.linear": "proj_out",
}
DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_attn.norm.query_norm.scale": "attn.norm_q.weight",
    "img_attn.norm.key_norm.scale": "attn.norm_k.weight",
    "txt_attn.norm.query_norm.scale": "attn.norm_added_q.weight",
    "txt_attn.norm.key_norm.scale": "attn.norm_added_k.weight",
}
SINGLE = {
    "modulation.lin": "norm.linear",
    "linear2": "proj_out",
    "norm.query_norm.scale": "attn.norm_q.weight",
    "norm.key_norm.scale": "attn.norm_k.weight",
}
JOINED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+)")


def convert(state: State) -> State:
    out: State = {}
    for key, tensor in state.items():
        block = BLOCK.match(key)
        if block:
            prefix = "transformer_blocks" if block[1] == "double" else "single_transformer_blocks"
            names = DOUBLE if block[1] == "double" else SINGLE
            converted = _block_tensor(block[3], tensor, names)
            out |= {f"{prefix}.{block[2]}.{name}": value for name, value in converted.items()}
        elif key.startswith("final_layer.adaLN_modulation.1."):
            shift, scale = tensor.chunk(2, dim=0)  # diffusers keeps the scale first.
            out[f"norm_out.linear.{key.rsplit('.', 1)[1]}"] = torch.cat([scale, shift])
        else:
            module, leaf = key.rsplit(".", 1)
            out[f"{ENDS.get(module, module)}.{leaf}"] = tensor
    return out


def _block_tensor(name: str, tensor: torch.Tensor, names: dict[str, str]) -> State:
    if name in names:
        return {names[name]: tensor}
    module, leaf = name.rsplit(".", 1)
    if module in JOINED:
        pieces = tensor.chunk(3, dim=0)
        return {f"{part}.{leaf}": piece for part, piece in zip(JOINED[module], pieces, strict=True)}
    if module == "linear1":  # Query, key and value of the inner width w, then the feed-forward of 4 w.
        width = tensor.shape[0] // 7
        pieces = tensor.split([width, width, width, tensor.shape[0] - 3 * width], dim=0)
        targets = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
        return {f"{part}.{leaf}": piece for part, piece in zip(targets, pieces, strict=True)}
    return {f"{names.get(module, module)}.{leaf}": tensor}
