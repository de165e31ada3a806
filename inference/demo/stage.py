"""What every training stage shares: the state it keeps on disk, its budget, its learning rate, its loop.

A stage may be paused, stopped and started again at will: it counts CPU seconds and saves all it needs to go on.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

SEED: Final = 20260
DEVICE: Final = "cuda" if torch.cuda.is_available() else "cpu"
# CPU seconds of each stage, and the pictures or captions of one step.
BUDGETS_S: Final = {"text": 500.0, "vae": 380.0, "unet": 4300.0 if DEVICE == "cpu" else 1200.0}
BATCHES: Final = {"text": 64, "vae": 8, "unet": 32 if DEVICE == "cpu" else 256}
LEARNING_RATES: Final = {"text": 1e-3, "vae": 2e-3, "unet": 1.5e-3}
CHECKPOINT_EVERY_S: Final = 240.0


@dataclass
class Stage:
    """One network in training: its averaged copy, its optimiser, and how far it has come."""

    name: str
    network: nn.Module
    folder: Path
    budget_s: float
    average: nn.Module | None = None
    steps: int = 0
    used_s: float = 0.0
    loss: float = 0.0
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        rate = LEARNING_RATES[self.name]
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
        if self.path.exists():
            self.load()

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.pt"

    def load(self) -> None:
        state: dict[str, Any] = torch.load(self.path, weights_only=True, map_location=DEVICE)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self.used_s = state["steps"], state["used_s"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def save(self) -> None:
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"steps": self.steps, "used_s": self.used_s}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        unfinished = self.path.with_suffix(".new")
        torch.save(state, unfinished)
        os.replace(unfinished, self.path)

    def budget_reread(self) -> None:
        """A number in the file `budget_s` replaces the budget of the stage while it runs."""
        wish = self.folder / "budget_s"
        if wish.exists():
            self.budget_s = float(wish.read_text())

    def rate(self) -> float:
        """Warm up, stay, then fall in a straight line over the last three tenths of the budget."""
        left = max(0.0, 1 - self.used_s / self.budget_s)
        return LEARNING_RATES[self.name] * min(1.0, (self.steps + 1) / 100, left / 0.3 + 0.01)

    def step(self, loss: Tensor) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        self.loss = loss.item() if self.loss == 0 else 0.98 * self.loss + 0.02 * loss.item()
        self._average_update()

    @torch.no_grad()
    def _average_update(self) -> None:
        if self.average is None:
            return
        keep = min(0.999, (1 + self.steps) / (10 + self.steps))
        own, new = list(self.average.parameters()), list(self.network.parameters())
        torch._foreach_lerp_(own, new, 1 - keep)


def stage_run(stage: Stage, losses: Callable[[], Tensor]) -> None:
    """Steps until the stage's CPU budget is used or the process is told to stop, saving now and then and at the end."""
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    before_s, saved_s = time.process_time() - stage.used_s, stage.used_s
    while stage.used_s < stage.budget_s and not stops:
        stage.step(losses())
        stage.used_s = time.process_time() - before_s
        if stage.steps % 50 == 0:
            stage.budget_reread()
            told = f"{stage.name} step {stage.steps} loss {stage.loss:.4f} rate {stage.rate():.1e}"
            print(f"{time.strftime('%H:%M:%S')} {told} cpu {stage.used_s:.0f} s", flush=True)
        if stage.used_s - saved_s > CHECKPOINT_EVERY_S:
            stage.save()
            saved_s = stage.used_s
    stage.save()
