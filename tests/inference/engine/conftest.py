"""Tiny models on disk, saved once per run, and a loop over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.inference.engine.bench import Bench
from tests.support import tiny_models


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MODEL_DIR with one folder per family; whoever adds to it uses names of its own."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    pipe = tiny_models.sd15()
    tiny_models.save(pipe, folder / "sd15")
    tiny_models.save(tiny_models.controlnet(pipe.unet), folder / "sd15-canny")
    tiny_models.save(tiny_models.controlnet(pipe.unet, seed=1), folder / "sd15-depth")
    tiny_models.save(tiny_models.sd15(seed=3, in_channels=9), folder / "sd15-inpainting")
    return folder


@pytest.fixture(scope="module")
def bench(model_dir: Path) -> Iterator[Bench]:
    bench = Bench(model_dir)
    yield bench
    bench.close()


@pytest.fixture(scope="session")
def plain_sd15(model_dir: Path) -> Any:
    """The plain diffusers pipeline of the same files: what every picture is measured against."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(str(model_dir / "sd15"), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe
