"""What makes a network faster without changing what it computes: compiled blocks and attention kernels.

Compiling happens once per repeated block and pays after minutes of the same model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from inference.engine.families.sample import Role, Row
from inference.engine.settings import EngineSettings

# The blocks that a network is made of; compiling one compiles all of its kind.
REPEATED = ("BasicTransformerBlock", "JointTransformerBlock", "FluxTransformerBlock", "FluxSingleTransformerBlock")
MARK = "_has_compiled_blocks"


def check(settings: EngineSettings) -> None:
    """Refuse names that the libraries do not know, before anything is loaded."""
    kernels = [backend.value for backend in AttentionBackendName]
    if settings.attention_backend and settings.attention_backend not in kernels:
        raise ValueError(f"attention_backend must be one of {', '.join(kernels)}, not {settings.attention_backend!r}.")
    if settings.compile:
        backends = torch.compiler.list_backends(exclude_tags=())
        if settings.compile not in backends:
            raise ValueError(f"compile must be one of {', '.join(backends)}, not {settings.compile!r}.")


def memory_format(network: torch.nn.Module, settings: EngineSettings, device: torch.device) -> torch.memory_format:
    """Channels last for networks that convolve on GPUs, whose kernels are made for it; else as the weights came."""
    convolves = any(isinstance(module, torch.nn.Conv2d) for module in network.modules())
    wanted = settings.channels_last and device.type == "cuda" and convolves
    return torch.channels_last if wanted else torch.preserve_format


def prepare(denoiser: Any, settings: EngineSettings) -> None:
    if settings.attention_backend:
        denoiser.set_attention_backend(settings.attention_backend)
    if settings.compile and not hasattr(denoiser, MARK):
        for block in denoiser.modules():
            if type(block).__name__ in REPEATED:
                block.compile(backend=settings.compile, dynamic=True)
        setattr(denoiser, MARK, True)


def uncompiled_for(denoiser: Any, rows: Sequence[Row]) -> contextlib.AbstractContextManager[Any]:
    """Rows that bring hooks or layers of their own: compiled code would look at neither."""
    bare = all(not r.sample.loras and not r.sample.dress and r.condition.role is not Role.PERTURBED for r in rows)
    if bare or not hasattr(denoiser, MARK):
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
