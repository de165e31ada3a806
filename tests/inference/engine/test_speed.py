"""Compiled blocks and other attention kernels draw the same pictures; what brings its own layers runs without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inference.engine.families import speed
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
