"""Edges by networks: HED in ControlNet's published form (ControlNetHED.pth), and the line art generator (sk_model.pth).

Both are rebuilt here from their key layouts; the widths are read from the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from inference.engine.control import filters
from inference.engine.control.shelf import Shelf
from inference.engine.weightfile import State, fill, read_state, unreadable

HED_FILE = "ControlNetHED.pth"
LINEART_FILE = "sk_model.pth"
# Both networks were made for pictures of about this size; larger ones are reduced and the edges enlarged again.
SIDE_MAX_PX = 1024

N = TypeVar("N", bound=nn.Module)


class _HedStage(nn.Module):
    def __init__(self, inputs: int, outputs: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(nn.Conv2d(inputs if place == 0 else outputs, outputs, 3, padding=1) for place in range(layers))
        )
        self.projection = nn.Conv2d(outputs, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.convs:
            x = functional.relu(layer(x))
        return x


class Hed(nn.Module):
    """Five stages at halving sizes, each with an edge map; their mean is the answer (arXiv 1504.06375)."""

    def __init__(self, stages: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.stages = len(stages)
        for number, (inputs, outputs, layers) in enumerate(stages, start=1):
            self.add_module(f"block{number}", _HedStage(inputs, outputs, layers))

    def forward(self, x: Tensor) -> Tensor:
        size, maps = x.shape[2:], []
        x = x - self.norm
        for number in range(1, self.stages + 1):
            stage = self.get_submodule(f"block{number}")
            x = stage(x if number == 1 else functional.max_pool2d(x, 2))
            edge_map = stage.get_submodule("projection")(x)
            maps.append(functional.interpolate(edge_map, size=size, mode="bilinear", align_corners=False))
        return torch.stack(maps).mean(dim=0).sigmoid()


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        norm = nn.InstanceNorm2d
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), norm(channels), nn.ReLU()]
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), norm(channels)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_block(x)
        return x + out


class LineArt(nn.Module):
    """The generator of informative drawings (arXiv 2203.12691): two halvings, residual blocks, two doublings."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        norm = nn.InstanceNorm2d
        self.model0 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, channels, 7), norm(channels), nn.ReLU())
        halvings: list[nn.Module] = []
        doublings: list[nn.Module] = []
        for inputs in (channels, 2 * channels):
            halvings += [nn.Conv2d(inputs, 2 * inputs, 3, stride=2, padding=1), norm(2 * inputs), nn.ReLU()]
        for outputs in (2 * channels, channels):
            doubling = nn.ConvTranspose2d(2 * outputs, outputs, 3, stride=2, padding=1, output_padding=1)
            doublings += [doubling, norm(outputs), nn.ReLU()]
        self.model1 = nn.Sequential(*halvings)
        self.model2 = nn.Sequential(*(_Residual(4 * channels) for _ in range(blocks)))
        self.model3 = nn.Sequential(*doublings)
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(channels, 1, 7), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model4(self.model3(self.model2(self.model1(self.model0(x)))))
        return out


def soft_edges(image: Image.Image, shelf: Shelf) -> Image.Image:
    """White soft edges on black."""
    what = "ControlNet's HED weights (ControlNetHED.pth, or the same tensors as .safetensors)"
    network = shelf.load(HED_FILE, _build_hed, kind="hed and softedge", what=what)
    return _picture(_run(network, image, shelf.device, levels=1.0), image.size)


def lineart(image: Image.Image, shelf: Shelf) -> Image.Image:
    """White lines on black, by the network when `sk_model.pth` is installed, else by the classical filter."""
    if shelf.find(LINEART_FILE) is None:
        return filters.lineart(image)
    network = shelf.load(LINEART_FILE, _build_lineart, kind="lineart", what="the line art generator")
    return _picture(1 - _run(network, image, shelf.device, levels=255.0), image.size)


@torch.inference_mode()
def _run(network: nn.Module, image: Image.Image, device: str, *, levels: float) -> NDArray[np.float32]:
    """One channel in 0..1 at the working size. `levels` 1 feeds bytes as they are, 255 feeds 0..1."""
    scale = min(1.0, SIDE_MAX_PX / max(image.size))
    # Multiples of 16: four halvings, and the generator returns the size it was given only then.
    size = tuple(max(round(side * scale / 16), 1) * 16 for side in image.size)
    pixels = np.asarray(image.resize((size[0], size[1]), Image.Resampling.BICUBIC), dtype=np.float32) / levels
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device)
    answer: NDArray[np.float32] = network(batch)[0, 0].float().cpu().numpy()
    return answer


def _picture(strength: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    grey = Image.fromarray((strength.clip(0, 1) * 255).astype(np.uint8))
    return grey.resize(size, Image.Resampling.BILINEAR).convert("RGB")


def _build_hed(path: Path, device: str) -> Hed:
    state = read_state(path)
    stages: list[tuple[int, int, int]] = []
    while f"block{len(stages) + 1}.convs.0.weight" in state:
        prefix = f"block{len(stages) + 1}.convs."
        outputs, inputs = state[f"{prefix}0.weight"].shape[:2]
        stages.append((inputs, outputs, sum(name.startswith(prefix) and name.endswith("weight") for name in state)))
    if not stages or "norm" not in state:
        raise unreadable(path, "it is not HED in ControlNet's layout")
    return _ready(Hed(stages), state, path, device)


def _build_lineart(path: Path, device: str) -> LineArt:
    state = read_state(path)
    if "model0.1.weight" not in state:
        raise unreadable(path, "it is not the line art generator")
    blocks = 1 + max((int(name.split(".")[1]) for name in state if name.startswith("model2.")), default=-1)
    return _ready(LineArt(state["model0.1.weight"].shape[0], blocks), state, path, device)


def _ready(network: N, state: State, path: Path, device: str) -> N:
    fill(network, state, path)
    return network.to(device).eval()
