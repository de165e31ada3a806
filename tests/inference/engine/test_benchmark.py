"""The engine's benchmark can measure the real layouts: here with widths of an eighth, since tests have no GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import report
from benchmarks.engine import __main__ as benchmark
from benchmarks.engine import layouts
from benchmarks.engine.rivals import Cost, prompt
from inference.engine.settings import CONFIGS_DIR
from inference.engine.singlefile import configuration


@pytest.mark.parametrize("layout", layouts.PIPELINES)
def test_a_layout_is_measured_against_plain_diffusers(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    told = [
        "--layout",
        layout,
        "--reduced",
        "8",
        "--side",
        "64",
        "--steps",
        "2",
        "--rounds",
        "1",
        "--customers",
        "1",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["engine", *told])
    benchmark.main()
    written = json.loads((tmp_path / f"engine-{layout}-cpu.json").read_text())
    assert [row["customers"] for row in written["rows"]] == [1, 2]
    assert all(row["engine img/s"] > 0 for row in written["rows"])
    assert len(written["bars"]) == 3
    assert "of best batch" in capsys.readouterr().out


@pytest.mark.parametrize("layout", layouts.PIPELINES)
def test_the_full_size_is_the_real_one(layout: str) -> None:
    """Without allocating it."""
    entry = configuration(CONFIGS_DIR, layout)["components"]["unet"]
    network: Any = layouts._part(entry, torch.device("meta"), torch.bfloat16, 1)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert round(parameters / 1e6) == {"sd15": 860, "sdxl": 2567}[layout]


def test_customers_ask_for_different_things() -> None:
    assert len({prompt(number) for number in range(64)}) == 64


def test_a_gpu_is_measured_by_the_clock_on_the_wall() -> None:
    cost = Cost(wall_s=2.0, cpu_s=1.0)
    assert (cost.on("cpu"), cost.on("cuda:1")) == (1.0, 2.0)
