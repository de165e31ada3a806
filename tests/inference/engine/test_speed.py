"""Compiled blocks and other attention kernels draw the same pictures; what brings its own layers runs without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from inference.engine import engine
from inference.engine.families import speed
from inference.engine.settings import EngineSettings
from inference.engine.spec import AdapterRef, Family
from tests.inference.engine.bench import Bench, apart, model, spec
from tests.support import tiny_checkpoints, tiny_models

SAME = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed")
    pipe = tiny_models.sd15()
    tiny_models.save(pipe, folder / "sd15")
    tiny_models.save(tiny_models.flux(), folder / "flux")
    tiny_models.save(tiny_models.sd3(), folder / "sd3")
    save_file(tiny_checkpoints.kohya_lora_state(pipe), folder / "style.safetensors")
    return folder


@pytest.fixture
def compiled(folder: Path) -> Iterator[Bench]:
    """Traced by the compiler without generating code, which is the same for every backend and quick."""
    bench = Bench(folder, compile="eager")
    yield bench
    bench.close()
    torch.compiler.reset()


@pytest.mark.parametrize(("source", "family"), [("sd15", Family.SD15), ("sd3", Family.SD3)])
def test_compiled_blocks_draw_the_same(folder: Path, compiled: Bench, source: str, family: Family) -> None:
    plain = Bench(folder)
    job = spec(model(source, family), num_inference_steps=2)
    assert apart(compiled.draw(job), plain.draw(job)) <= SAME
    denoiser = next(iter(compiled.pool.residents.values())).part.value.denoiser
    blocks = [block for block in denoiser.modules() if type(block).__name__ in speed.REPEATED]
    assert blocks
    assert all(block._compiled_call_impl is not None for block in blocks)
    plain.close()


def test_hooks_are_not_lost_in_compiled_blocks(folder: Path, compiled: Bench) -> None:
    plain = Bench(folder)
    ref = model("sd15")
    fields = ({}, {"loras": (AdapterRef(adapter_id="s", source="style.safetensors"),)}, {"self_attention": True}, {})
    for more in fields:
        job = spec(ref, num_inference_steps=2, **more)
        assert apart(compiled.draw(job), plain.draw(job)) <= SAME
    plain.close()


def test_an_attention_kernel_can_be_chosen(folder: Path) -> None:
    plain, chosen = Bench(folder), Bench(folder, attention_backend="_native_math")
    job = spec(model("flux", Family.FLUX), num_inference_steps=2)
    assert apart(chosen.draw(job), plain.draw(job)) <= SAME
    denoiser = next(iter(chosen.pool.residents.values())).part.value.denoiser
    kernels = {
        str(module.processor._attention_backend) for module in denoiser.modules() if hasattr(module, "processor")
    }
    assert any("math" in kernel.lower() for kernel in kernels)
    for bench in (plain, chosen):
        bench.close()


CUDA, CPU = torch.device("cuda"), torch.device("cpu")  # naming a device needs none


@pytest.mark.parametrize(
    ("device", "chosen", "convolves", "expected"),
    [
        (CUDA, True, True, torch.channels_last),
        (CUDA, False, True, torch.preserve_format),
        (CUDA, True, False, torch.preserve_format),
        (CPU, True, True, torch.preserve_format),
    ],
)
def test_convolutions_on_gpus_are_laid_out_channels_last(
    device: torch.device, chosen: bool, convolves: bool, expected: torch.memory_format
) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3) if convolves else torch.nn.Linear(3, 4))
    assert speed.memory_format(network, EngineSettings(channels_last=chosen), device) is expected


def test_the_layout_in_memory_changes_no_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Bench(folder)
    job = spec(model("sd15"))
    expected = plain.draw(job)
    plain.close()
    monkeypatch.setattr(speed, "memory_format", lambda network, settings, device: torch.channels_last)
    other = Bench(folder)
    assert apart(other.draw(job), expected) <= SAME
    denoiser = next(iter(other.pool.residents.values())).part.value.denoiser
    assert denoiser.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    other.close()


@pytest.mark.parametrize(
    ("told", "has_gpu", "expected"),
    [
        ({}, True, (CUDA, torch.bfloat16)),
        ({}, False, (CPU, torch.float32)),
        ({"dtype": "float16"}, True, (CUDA, torch.float16)),
        ({"device": "cpu", "dtype": "bfloat16"}, True, (CPU, torch.bfloat16)),
        ({"device": "cuda:1"}, True, (torch.device("cuda:1"), torch.bfloat16)),
    ],
)
def test_gpus_draw_in_half_precision_and_processors_in_full(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], has_gpu: bool, expected: tuple[Any, Any]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert engine._device(EngineSettings(**told)) == expected


def test_what_docs_say_of_the_defaults() -> None:
    """docs/engine-operations.md, "On a GPU", names them."""
    chosen = EngineSettings()
    assert (chosen.dtype, chosen.channels_last, chosen.attention_backend, chosen.compile) == ("auto", True, "", "")
    assert (chosen.warm_models, chosen.max_rows, chosen.preview_percent) == ((), 16, 3)
