"""What a network can put on for some of its rows and take off again: token merging, an IP-Adapter, perturbed attention.

A dress changes the network's layers for one forward. Samples of different dresses never share a forward; perturbed
rows do, because only their own rows are changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tomesd
import torch

from inference.engine.families.sample import Role, Row

# tomesd's recommended share of tokens merged away.
MERGED_SHARE = 0.5


class Dress(Protocol):
    @property
    def key(self) -> Hashable: ...

    def worn(self, network: Any) -> contextlib.AbstractContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class MergedTokens:
    """Token merging (arXiv 2303.17604), without its random choice: that would draw differently each time."""

    @property
    def key(self) -> Hashable:
        return "tomesd"

    @contextlib.contextmanager
    def worn(self, network: Any) -> Iterator[None]:
        tomesd.apply_patch(network, ratio=MERGED_SHARE, use_rand=False)
        try:
            yield
        finally:
            tomesd.remove_patch(network)


@contextlib.contextmanager
def worn(network: Any, dresses: Sequence[Dress]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for dress in dresses:
            stack.enter_context(dress.worn(network))
        yield


@contextlib.contextmanager
def perturbed(network: Any, rows: Sequence[Row]) -> Iterator[None]:
    """In the middle block, perturbed rows attend to nothing but themselves (perturbed-attention guidance).

    Layers and formula as in diffusers' PAG pipelines with `pag_applied_layers="mid"`.
    """
    places = [i for i, row in enumerate(rows) if row.condition.role is Role.PERTURBED]
    if not places:
        yield
        return
    index = torch.tensor(places, device=next(network.parameters()).device)

    def identity(module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        alone = module.to_out[1](module.to_out[0](module.to_v(args[0])))
        return output.index_copy(0, index, alone[index])

    layers = [m for name, m in network.mid_block.named_modules() if name.endswith("attn1")]
    hooks = [layer.register_forward_hook(identity) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
