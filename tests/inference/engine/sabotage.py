"""What tests break in the network, to see what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inference.engine.families.unet import UNetFamily


class Sabotage:
    """Breaks the network's forward for chosen rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
        real = UNetFamily.forward

        def forward(family: Any, model: Any, batch: Any) -> torch.Tensor:
            act(batch)
            return real(family, model, batch)

        monkeypatch.setattr(UNetFamily, "forward", forward)
