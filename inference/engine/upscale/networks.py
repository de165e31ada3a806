"""The two networks of the Real-ESRGAN family as modules, in the key layout of its published files."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_SCALE = 0.2
SLOPE = 0.2


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _activate(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE, inplace=True)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the results of all before it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        for place in range(1, 6):
            outputs = growth if place < 5 else channels
            self.add_module(f"conv{place}", _conv(channels + (place - 1) * growth, outputs))

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for place in range(1, 5):
            seen = torch.cat((seen, _activate(self.get_submodule(f"conv{place}")(seen))), dim=1)
        out: Tensor = self.get_submodule("conv5")(seen)
        return out * RESIDUAL_SCALE + x


class TripleBlock(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rdb3(self.rdb2(self.rdb1(x)))
        return out * RESIDUAL_SCALE + x


class RRDBNet(nn.Module):
    """ESRGAN and Real-ESRGAN (arXiv 2107.10833): residual dense blocks, then doublings by nearest neighbour.

    `unshuffle` > 1 folds squares of pixels into channels first, which is how the x2 and x1 models are made of the
    same network: the scale is 2 ** doublings / unshuffle.
    """

    def __init__(self, *, channels: int, blocks: int, growth: int, unshuffle: int, doublings: int) -> None:
        super().__init__()
        self.unshuffle, self.doublings = unshuffle, doublings
        self.scale = 2**doublings // unshuffle
        self.conv_first = _conv(3 * unshuffle**2, channels)
        self.body = nn.Sequential(*(TripleBlock(channels, growth) for _ in range(blocks)))
        self.conv_body = _conv(channels, channels)
        for place in range(1, doublings + 1):
            self.add_module(f"conv_up{place}", _conv(channels, channels))
        self.conv_hr = _conv(channels, channels)
        self.conv_last = _conv(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.unshuffle > 1:
            x = functional.pixel_unshuffle(x, self.unshuffle)
        features = self.conv_first(x)
        features = features + self.conv_body(self.body(features))
        for place in range(1, self.doublings + 1):
            doubled = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = _activate(self.get_submodule(f"conv_up{place}")(doubled))
        out: Tensor = self.conv_last(_activate(self.conv_hr(features)))
        return out


class CompactNet(nn.Module):
    """The small network of realesr-general-x4v3 and the anime video models: all work at input size, one shuffle.

    It learns the difference to the nearest-neighbour enlargement.
    """

    unshuffle = 1

    def __init__(self, *, channels: int, convolutions: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [_conv(3, channels), nn.PReLU(channels)]
        for _ in range(convolutions):
            layers += [_conv(channels, channels), nn.PReLU(channels)]
        layers.append(_conv(channels, 3 * scale**2))
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        detail = functional.pixel_shuffle(self.body(x), self.scale)
        return detail + functional.interpolate(x, scale_factor=self.scale, mode="nearest")
