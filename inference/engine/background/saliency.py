"""U2-Net and IS-Net: the networks of u2net.pth, u2netp.pth and isnet-general-use.pth, which find the main subject.

Both nest small U-Nets ("RSU" blocks) in a large one and share their key layout, so one class builds either from the
shapes in the file (arXiv 2005.09007, arXiv 2203.03041).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from inference.engine.weightfile import State, fill, unreadable

# Depth of the block in each stage; "flat" blocks widen by dilation instead of by pooling.
_DEPTHS = {"1": 7, "2": 6, "3": 5, "4": 4, "5": 4, "6": 4, "5d": 4, "4d": 4, "3d": 5, "2d": 6, "1d": 7}
_FLAT = ("5", "6", "5d")


class _Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn_s1(self.conv_s1(x)))


class _Block(nn.Module):
    """A U-Net of `depth` levels around a residual. Flat blocks keep the size and dilate 1, 2, 4, 8 instead."""

    def __init__(self, inputs: int, middle: int, outputs: int, depth: int, flat: bool) -> None:
        super().__init__()
        self.depth, self.flat = depth, flat
        self.rebnconvin = _Layer(inputs, outputs, 1)
        for level in range(1, depth + 1):
            dilation = 2 ** (level - 1) if flat else 1 + (level == depth)
            self.add_module(f"rebnconv{level}", _Layer(outputs if level == 1 else middle, middle, dilation))
        for level in range(depth - 1, 0, -1):
            dilation = 2 ** (level - 1) if flat else 1
            self.add_module(f"rebnconv{level}d", _Layer(2 * middle, outputs if level == 1 else middle, dilation))

    def forward(self, x: Tensor) -> Tensor:
        entry: Tensor = self.rebnconvin(x)
        levels = [self.get_submodule("rebnconv1")(entry)]
        for level in range(2, self.depth + 1):
            pooled = levels[-1] if self.flat or level == self.depth else _halved(levels[-1])
            levels.append(self.get_submodule(f"rebnconv{level}")(pooled))
        out = levels.pop()
        for level in range(self.depth - 1, 0, -1):
            out = self.get_submodule(f"rebnconv{level}d")(
                torch.cat((_like(out, levels[level - 1]), levels[level - 1]), 1)
            )
        return out + entry


class SaliencyNet(nn.Module):
    """Six encoder and five decoder blocks; the finest side output, or their fusion where the file has one."""

    def __init__(self, shapes: dict[str, tuple[int, int, int]], *, folded_input: bool, fused: bool) -> None:
        super().__init__()
        self.folded_input, self.fused = folded_input, fused
        if folded_input:
            self.conv_in = nn.Conv2d(3, shapes["1"][0], 3, stride=2, padding=1)
        for stage, (inputs, middle, outputs) in shapes.items():
            self.add_module(f"stage{stage}", _Block(inputs, middle, outputs, _DEPTHS[stage], stage in _FLAT))
        for place, stage in enumerate(("1d", "2d", "3d", "4d", "5d", "6"), start=1):
            self.add_module(f"side{place}", nn.Conv2d(shapes[stage][2], 1, 3, padding=1))
        if fused:
            self.outconv = nn.Conv2d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        features = [self.get_submodule("stage1")(self.conv_in(x) if self.folded_input else x)]
        for place in range(2, 7):
            features.append(self.get_submodule(f"stage{place}")(_halved(features[-1])))
        decoded = [features.pop()]
        for place in range(5, 0, -1):
            joined = torch.cat((_like(decoded[-1], features[place - 1]), features[place - 1]), 1)
            decoded.append(self.get_submodule(f"stage{place}d")(joined))
        decoded.reverse()
        if not self.fused:
            return self._side(1, decoded[0], size).sigmoid()
        sides = [self._side(place, feature, size) for place, feature in enumerate(decoded, start=1)]
        out: Tensor = self.outconv(torch.cat(sides, 1))
        return out.sigmoid()

    def _side(self, place: int, feature: Tensor, size: torch.Size) -> Tensor:
        side = self.get_submodule(f"side{place}")(feature)
        return functional.interpolate(side, size=size, mode="bilinear", align_corners=False)


class SalientSubject:
    """The probability, per pixel, that it belongs to the main subject."""

    def __init__(self, state: State, path: Path, device: str) -> None:
        network = _build(state, path)
        fill(network, state, path)
        self.network, self._device = network.to(device).eval(), device

    @torch.inference_mode()
    def alpha(self, image: Image.Image) -> NDArray[np.float32]:
        """At the size of the picture. Stretched to the full range, as both networks are published to be read."""
        mean, spread, side = _NORMALISATION[self.network.folded_input]
        pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32) / 255
        batch = torch.from_numpy((pixels - mean) / spread).float().permute(2, 0, 1)[None].to(self._device)
        found = self.network(batch)[0, 0].float().cpu().numpy()
        lowest, highest = float(found.min()), float(found.max())
        stretched = (found - lowest) / max(highest - lowest, 1e-6)
        return cv2.resize(stretched, image.size, interpolation=cv2.INTER_LINEAR).clip(0, 1).astype(np.float32)


_IMAGENET = (np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225)))
# By `folded_input`: what IS-Net and U2-Net were trained with.
_NORMALISATION = {True: (np.array(0.5), np.array(1.0), 1024), False: (*_IMAGENET, 320)}


def is_saliency(state: State) -> bool:
    return "stage1.rebnconvin.conv_s1.weight" in state


def _build(state: State, path: Path) -> SaliencyNet:
    shapes = {}
    for stage in _DEPTHS:
        first, second = (state.get(f"stage{stage}.{layer}.conv_s1.weight") for layer in ("rebnconvin", "rebnconv1"))
        if first is None or second is None:
            raise unreadable(path, f"it has no stage{stage} of U2-Net or IS-Net")
        shapes[stage] = (first.shape[1], second.shape[0], first.shape[0])
    return SaliencyNet(shapes, folded_input="conv_in.weight" in state, fused="outconv.weight" in state)


def _halved(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2, stride=2, ceil_mode=True)


def _like(x: Tensor, other: Tensor) -> Tensor:
    if x.shape[2:] == other.shape[2:]:
        return x
    return functional.interpolate(x, size=other.shape[2:], mode="bilinear", align_corners=False)
