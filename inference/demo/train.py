"""Trains the demo model from nothing on pictures it draws itself, in three resumable stages.

python -m inference.demo.train --work FOLDER [--stage text|vae|unet] [--budget-s N]. Stages keep their state in the
work folder and count their budget in CPU seconds, so a run may be paused, stopped and started again at will. The
file `pid` there names the running process, and a number in the file `budget_s` changes the budget of a running stage.
`python -m inference.demo.release` turns the work folder into a shipped model.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from inference.demo.stage import BUDGETS_S
from inference.demo.train_text import text_train
from inference.demo.train_unet import unet_train
from inference.demo.train_vae import vae_train

STAGES: Final[dict[str, Callable[[Path, float], None]]] = {"text": text_train, "vae": vae_train, "unet": unet_train}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--work", type=Path, required=True, help="folder for checkpoints, outside the repository")
    options.add_argument("--stage", choices=STAGES, help="one stage only; default: all in turn")
    options.add_argument("--budget-s", type=float, help="CPU seconds of that stage, those already used included")
    chosen = options.parse_args()
    if chosen.budget_s and not chosen.stage:
        options.error("--budget-s needs --stage: each stage has a budget of its own")
    chosen.work.mkdir(parents=True, exist_ok=True)
    (chosen.work / "pid").write_text(f"{os.getpid()}\n")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in [chosen.stage] if chosen.stage else STAGES:
        STAGES[name](chosen.work, chosen.budget_s or BUDGETS_S[name])


if __name__ == "__main__":
    main()
