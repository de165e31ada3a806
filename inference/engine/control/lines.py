"""Straight lines: M-LSD when its weights are installed (arXiv 2106.00186), else the classical detector.

The network is rebuilt from the key layout of mlsd_large_512_fp32.pth: a MobileNetV2 trunk on RGB plus a channel of
ones, and a decoder that predicts line centres and the way from a centre to both ends.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from inference.engine.control import filters
from inference.engine.control.shelf import Shelf
from inference.engine.weightfile import fill, read_state

MLSD_FILE = "mlsd_large_512_fp32.pth"
SIDE_PX = 512
# The published reading: at most 200 lines, centres above 0.1, length above 20 px of the 256 px map.
LINES_MAX, SCORE_MIN, LENGTH_MIN_PX = 200, 0.1, 20.0
# MobileNetV2 up to stride 16: expansion, channels, repeats, first stride. Features 1, 3, 6, 10 and 13 feed the decoder.
_TRUNK = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
_TAPS = (1, 3, 6, 10, 13)


class _Step(nn.Sequential):
    """Convolution, normalisation, ReLU6. At stride 2 padded right and below only, as TensorFlow does."""

    def __init__(self, inputs: int, outputs: int, *, side: int = 3, stride: int = 1, groups: int = 1) -> None:
        padding = 0 if stride == 2 else side // 2
        conv = nn.Conv2d(inputs, outputs, side, stride, padding, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU6())
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(functional.pad(x, (0, 1, 0, 1)) if self._stride == 2 else x)
        return out


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [_Step(inputs, hidden, side=1)] if expansion > 1 else []
        layers += [_Step(hidden, hidden, stride=stride, groups=hidden)]
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self._adds else out


class _Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        features: list[nn.Module] = [_Step(4, 32, stride=2)]
        inputs = 32
        for expansion, outputs, repeats, stride in _TRUNK:
            for place in range(repeats):
                features.append(_Bottleneck(inputs, outputs, stride if place == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*features)

    def forward(self, x: Tensor) -> list[Tensor]:
        taps = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in _TAPS:
                taps.append(x)
        return taps


def _plain(inputs: int, outputs: int, side: int, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, side, padding=dilation * (side // 2), dilation=dilation)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class _Join(nn.Module):
    """A finer feature beside the coarser one; the coarser is doubled in size first, except at the bottom."""

    def __init__(self, fine: int, coarse: int, doubles: bool) -> None:
        super().__init__()
        self.conv1, self.conv2, self._doubles = _plain(coarse, 64, 1), _plain(fine, 64, 1), doubles

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = self.conv1(coarse)
        if self._doubles:
            coarse = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=True)
        return torch.cat((self.conv2(fine), coarse), dim=1)


class _Merge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = _plain(128, 128, 3), _plain(128, 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x) + x)
        return out


class _Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = _plain(64, 64, 3, dilation=5), _plain(64, 64, 3)
        self.conv3 = nn.Conv2d(64, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(self.conv2(self.conv1(x)))
        return out


class Mlsd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Trunk()
        self.block15, self.block16 = _Join(64, 96, doubles=False), _Merge()
        self.block17, self.block18 = _Join(32, 64, doubles=True), _Merge()
        self.block19, self.block20 = _Join(24, 64, doubles=True), _Merge()
        self.block21, self.block22 = _Join(16, 64, doubles=True), _Merge()
        self.block23 = _Head()

    def forward(self, x: Tensor) -> Tensor:
        """Channel 0 scores a line's centre, 1 to 4 are the offsets of its two ends. The first 7 served training."""
        c1, c2, c3, c4, c5 = self.backbone(x)
        x = self.block16(self.block15(c4, c5))
        x = self.block18(self.block17(c3, x))
        x = self.block20(self.block19(c2, x))
        x = self.block23(self.block22(self.block21(c1, x)))
        return x[:, 7:]


def straight_lines(image: Image.Image, shelf: Shelf) -> Image.Image:
    """White line segments on black."""
    if shelf.find(MLSD_FILE) is None:
        return filters.straight_lines(image)
    network = shelf.load(MLSD_FILE, _build, kind="mlsd", what="the M-LSD weights")
    return filters.draw_segments(_segments(network, image, shelf.device), image.size)


def _build(path: Path, device: str) -> Mlsd:
    network = Mlsd()
    fill(network, read_state(path), path)
    return network.to(device).eval()


@torch.inference_mode()
def _segments(network: Mlsd, image: Image.Image, device: str) -> NDArray[np.float32]:
    """Rows of x, y of the start and x, y of the end, in pixels of the picture."""
    pixels = np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX), dtype=np.float32)
    with_ones = np.concatenate((pixels, np.ones((SIDE_PX, SIDE_PX, 1), dtype=np.float32)), axis=2) / 127.5 - 1
    answer = network(torch.from_numpy(with_ones).permute(2, 0, 1)[None].to(device))[0].float()
    centres, offsets = answer[0].sigmoid(), answer[1:5]
    peaks = torch.where(functional.max_pool2d(centres[None], 3, 1, 1)[0] == centres, centres, 0.0)
    scores, places = peaks.flatten().topk(LINES_MAX)
    rows, columns = places // peaks.shape[1], places % peaks.shape[1]
    ways = offsets[:, rows, columns].T
    long = (ways[:, :2] - ways[:, 2:]).norm(dim=1) > LENGTH_MIN_PX
    kept = (scores > SCORE_MIN) & long
    starts_and_ends = torch.stack((columns, rows, columns, rows), dim=1) + ways
    scale = np.array((image.width, image.height) * 2, dtype=np.float32) / np.float32(peaks.shape[1])
    found: NDArray[np.float32] = starts_and_ends[kept].cpu().numpy() * scale
    return found
