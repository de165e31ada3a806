"""Reads one file of weights into a state dictionary, and says plainly what is wrong when it cannot.

Only tensors are read: safetensors, or torch files with `weights_only=True`, so a weight file cannot run code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from inference.engine.errors import RenderFailed

State = dict[str, torch.Tensor]
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Training frameworks put the weights one level down; of an averaged and a plain copy, the averaged one is meant.
_WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict")


def read_state(path: Path) -> State:
    """The tensors of the file by name, without wrappers and without the `module.` of parallel training."""
    if not path.is_file():
        raise RenderFailed(code="model_missing", message=f"There is no weight file {path.name} in the model folder.")
    if path.suffix not in SUFFIXES:
        raise unreadable(path, f"expected a file that ends in {', '.join(SUFFIXES)}")
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # the readers raise their own types for damaged files, pickles with code and so on
        raise unreadable(path, f"{type(error).__name__} while reading it") from error
    return _tensors(path, content)


def _tensors(path: Path, content: Any) -> State:
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping):
        raise unreadable(path, "it holds no state dictionary")
    return {str(key).removeprefix("module."): value for key, value in content.items() if torch.is_tensor(value)}


def fill(network: torch.nn.Module, state: State, path: Path) -> None:
    """Load the weights into the network, every name exactly once; a file of another network is refused."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise unreadable(path, f"its tensors do not fit {type(network).__name__}") from error


def unreadable(path: Path, reason: str) -> RenderFailed:
    return RenderFailed(code="model_unreadable", message=f"The weight file {path.name} cannot be used: {reason}.")
