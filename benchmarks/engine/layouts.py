"""Pipelines of the real layouts and sizes with random weights: what they draw means nothing, how fast they draw does.

Nothing is downloaded. Speed does not depend on the weights' values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from inference.engine.settings import CONFIGS_DIR
from inference.engine.singlefile import configuration
from tests.support import tiny_models

PIPELINES = {"sd15": diffusers.StableDiffusionPipeline, "sdxl": diffusers.StableDiffusionXLPipeline}
SIDES_PX = {"sd15": 512, "sdxl": 1024}
# What the widths of a network are called, for those who want a smaller one.
WIDTHS = (
    *("block_out_channels", "norm_num_groups", "cross_attention_dim"),
    *("hidden_size", "intermediate_size", "projection_dim"),
)


def save(
    layout: str, folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, reduced: int = 1
) -> None:
    """The pipeline as a folder. `reduced` (up to 8) divides every width, for slow machines."""
    told = configuration(CONFIGS_DIR, layout)["components"]
    parts = {name: _part(entry, torch.device(device), dtype, reduced) for name, entry in told.items()}
    if layout == "sd15":
        parts |= {"safety_checker": None, "feature_extractor": None}
    pipe = PIPELINES[layout](**parts)
    pipe.save_pretrained(str(folder))


def _part(entry: dict[str, Any], device: torch.device, dtype: torch.dtype, reduced: int) -> Any:
    if "tokenizer" in entry:
        return tiny_models.clip_tokenizer()
    config = _smaller(entry["config"], reduced)
    if hasattr(diffusers, entry["class"]):
        cls = getattr(diffusers, entry["class"])
        if not issubclass(cls, torch.nn.Module):
            return cls.from_config(config)
        with torch.device(device):
            return cls.from_config(config).to(dtype).eval()
    cls = getattr(transformers, entry["class"])
    tokenizer = tiny_models.clip_tokenizer()
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    with torch.device(device):
        return cls(cls.config_class(**(config | ends))).to(dtype).eval()


def _smaller(config: dict[str, Any], reduced: int) -> dict[str, Any]:
    if reduced == 1:
        return config
    smaller = {}
    for name, value in config.items():
        if name in WIDTHS:
            value = [one // reduced for one in value] if isinstance(value, list) else value // reduced
        elif name == "projection_class_embeddings_input_dim":
            times = 6 * config["addition_time_embed_dim"]
            value = (value - times) // reduced + times
        smaller[name] = value
    return smaller
