"""Many changes of model and LoRA leave the process as large as a few of them made it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from safetensors.torch import save_file

from inference.engine import Engine, EngineSettings
from inference.engine.spec import AdapterRef
from tests.inference.engine.bench import model, spec
from tests.support import tiny_checkpoints, tiny_models

# Each job changes both. It loads 4 MB of a model and 1 MB of a LoRA: kept, they would be 120 MB after the warm-up.
WARM, JOBS = 15, 40
GROWTH_MAX_BYTES = 40 * 2**20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_stays_flat_over_many_changes(tmp_path: Path) -> None:
    pipes = [tiny_models.sd15(seed) for seed in range(3)]
    for seed, pipe in enumerate(pipes):
        tiny_models.save(pipe, tmp_path / f"model{seed}")
    state = tiny_checkpoints.kohya_lora_state(pipes[0], rank=64)
    for number in range(4):
        save_file(state, tmp_path / f"lora{number}.safetensors")
    one_bytes = sum(
        parameter.numel() * 4
        for part in (pipes[0].unet, pipes[0].vae, pipes[0].text_encoder)
        for parameter in part.parameters()
    )
    lora_bytes = (tmp_path / "lora0.safetensors").stat().st_size
    # Room for one model and two LoRAs: no change finds what it wants in memory.
    budget_bytes = one_bytes + int(lora_bytes * 2.5)
    warm_bytes = 0
    with Engine(EngineSettings(model_dir=tmp_path, device="cpu", memory_budget_bytes=budget_bytes)) as engine:
        for number in range(JOBS):
            lora = AdapterRef(adapter_id="lora", source=f"lora{number % 4}.safetensors")
            job = spec(model(f"model{number % 3}"), loras=(lora,), num_inference_steps=1, guidance_scale=1.0)
            assert engine.submit(job).result(120).load_ms > 0
            assert engine.status().memory_used_bytes <= budget_bytes
            if number == WARM:
                warm_bytes = resident_bytes()
        assert resident_bytes() - warm_bytes < GROWTH_MAX_BYTES
