"""Memory that runs out: less at once, then a second try without what is idle, and only then a failure of one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from inference.engine import operations
from inference.engine.capacity import BUCKETS_MAX, PATIENCE, PATIENCE_MAX, Capacity
from inference.engine.drawing import Drawing
from inference.engine.errors import RenderFailed
from inference.engine.spec import ControlRef, Family, Operation, UpscaleSpec
from inference.engine.upscale import Upscaler
from tests.inference.engine.bench import Bench, apart, model, noise_picture, spec
from tests.inference.engine.sabotage import Sabotage
from tests.support import tiny_models, tiny_operations

SAME = 1e-5
SD15 = model("sd15")
FULL = torch.OutOfMemoryError("CUDA out of memory")


def held(capacity: Capacity, times: int, rows: int, bucket: str = "a") -> None:
    for _ in range(times):
        capacity.held(bucket, rows)


class TestCapacity:
    def test_is_halved_and_grows_back_when_memory_suffices_again(self) -> None:
        capacity = Capacity(16)
        capacity.ran_out("a", 12)
        assert (capacity.of("a"), capacity.of("b")) == (6, 16)
        held(capacity, PATIENCE - 1, 6)
        assert capacity.of("a") == 6
        held(capacity, 1, 6)
        assert capacity.of("a") == 12
        held(capacity, PATIENCE, 12)
        assert capacity.of("a") == 16

    def test_small_forwards_prove_nothing(self) -> None:
        capacity = Capacity(16)
        capacity.ran_out("a", 16)
        held(capacity, PATIENCE * 2, 4)
        assert capacity.of("a") == 8

    def test_each_try_in_vain_makes_the_next_twice_as_late(self) -> None:
        capacity = Capacity(16)
        waited = []
        for _ in range(10):
            capacity.ran_out("a", 16)
            forwards = 0
            while capacity.of("a") == 8:
                capacity.held("a", 8)
                forwards += 1
            waited.append(forwards)
        assert waited[:3] == [PATIENCE, PATIENCE * 2, PATIENCE * 4]
        assert max(waited) == PATIENCE_MAX

    def test_never_ends_below_one_row(self) -> None:
        capacity = Capacity(16)
        for _ in range(9):
            capacity.ran_out("a", capacity.of("a"))
        assert capacity.of("a") == 1

    def test_remembers_a_bounded_number_of_buckets(self) -> None:
        capacity = Capacity(16)
        for number in range(BUCKETS_MAX + 1):
            capacity.ran_out(number, 16)
        assert (capacity.of(0), capacity.of(1)) == (16, 8)


class Once:
    """Fails a method with a full memory, the first `times`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, times: int = 1) -> None:
        self.calls = 0
        real = getattr(owner, name)

        def act(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls <= times:
                raise FULL
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, act)


class TestSteps:
    def test_memory_that_runs_out_halves_the_batch(self, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def limit(batch: Any) -> None:
            if len(batch.rows) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")

        Sabotage(monkeypatch, limit)
        bench = Bench(model_dir)
        jobs = [bench.submit(spec(SD15, seed=i)) for i in range(6)]
        bench.finish(*jobs)
        assert bench.loop.tally.counts["oom"] == 1 + 1  # 12 rows, then 6; the bucket remembers 3 for the rest.
        assert bench.loop.snapshot.oom_count == 2
        monkeypatch.undo()
        for job in jobs:
            alone = bench.draw(spec(SD15, seed=job.spec.seed))
            assert apart(bench.recorded.pixels[job.spec.token, 0], alone) <= SAME
        bench.close()

    def test_memory_that_does_not_suffice_for_one_fails_that_one(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def limit(batch: Any) -> None:
            if batch.latents.shape[-1] > 8:
                raise torch.OutOfMemoryError("CUDA out of memory")

        Sabotage(monkeypatch, limit)
        large, small = bench.submit(spec(SD15, width_px=96)), bench.submit(spec(SD15))
        bench.finish(small)
        with pytest.raises(RenderFailed) as failure:
            bench.finish(large)
        assert failure.value.code == "out_of_memory"
        assert failure.value.retryable

    def test_the_decoder_gets_a_second_try_in_tiles(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        from diffusers import AutoencoderKL

        real = AutoencoderKL.decode
        tiled = []

        def decode(vae: Any, *args: Any, **kwargs: Any) -> Any:
            tiled.append(vae.use_tiling)
            if len(tiled) == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(vae, *args, **kwargs)

        monkeypatch.setattr(AutoencoderKL, "decode", decode)
        bench.finish(bench.submit(spec(SD15)))
        assert tiled == [False, True]
        assert not bench.pool.residents[next(iter(bench.pool.residents))].part.value.vae.use_tiling

    def test_a_picture_alone_is_drawn_row_by_row_when_its_rows_do_not_fit_together(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With guidance, a ControlNet and a perturbed row: three rows, one at a time."""
        canny = ControlRef(kind="canny", source="sd15-canny")
        fields: dict[str, Any] = {"controls": (canny,), "init_images": ("in",), "self_attention": True}
        pictures = {"in": noise_picture()}
        expected = bench.draw(spec(SD15, **fields), pictures)

        def limit(batch: Any) -> None:
            if len(batch.rows) > 1:
                raise FULL

        Sabotage(monkeypatch, limit)
        assert apart(bench.draw(spec(SD15, **fields), pictures), expected) <= SAME

    def test_what_is_idle_goes_before_a_picture_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for seed in (0, 1):
            tiny_models.save(tiny_models.sd15(seed), tmp_path / str(seed))
        bench = Bench(tmp_path)
        bench.draw(spec(model("0"), num_inference_steps=1))

        def limit(batch: Any) -> None:
            if len(bench.pool.residents) > 1:
                raise FULL

        Sabotage(monkeypatch, limit)
        bench.draw(spec(model("1")))
        assert [resident.ref.label for resident in bench.pool.residents.values()] == ["1"]
        bench.close()

    def test_a_bucket_is_known_by_its_model_and_not_by_a_place_in_memory(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model that is loaded again keeps its bound; another one that takes its place in memory has none."""

        def limit(batch: Any) -> None:
            if len(batch.rows) > 2:
                raise FULL

        Sabotage(monkeypatch, limit)
        bench.finish(*(bench.submit(spec(SD15, seed=seed, width_px=72)) for seed in range(4)))
        before = bench.loop.tally.counts["oom"]
        assert bench.pool.evict("sd15")
        bench.finish(*(bench.submit(spec(SD15, seed=seed, width_px=72)) for seed in range(4)))
        assert bench.loop.tally.counts["oom"] == before


class TestEverythingElse:
    @pytest.mark.parametrize("name", ["__init__", "sample"])
    def test_the_start_of_a_drawing_gets_a_second_try(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        once = Once(monkeypatch, Drawing, name)
        (output,) = bench.finish(bench.submit(spec(SD15)))
        assert once.calls == 2
        assert len(output.images) == 1

    def test_so_does_the_finish_of_one(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        once = Once(monkeypatch, operations, "finish")
        (output,) = bench.finish(bench.submit(spec(SD15)))
        assert once.calls == 2
        assert len(output.images) == 1

    def test_so_does_an_operation_in_one_piece(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_operations.save_everything(tmp_path)
        bench = Bench(tmp_path)
        once = Once(monkeypatch, Upscaler, "upscale")
        (output,) = bench.finish(bench.submit(*upscaling()))
        assert once.calls == 2
        assert output.images[0].image.size == (64, 64)
        bench.close()

    def test_the_cpu_s_own_words_count_as_well(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tiny_operations.save_everything(tmp_path)
        bench = Bench(tmp_path)
        words = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."
        tiles = []

        def enlarge(self: Any, pixels: Any, factor: int, tile_px: int, *more: Any) -> Any:
            tiles.append(tile_px)
            raise RuntimeError(words)

        monkeypatch.setattr(Upscaler, "_enlarge", enlarge)
        with pytest.raises(RenderFailed) as failure:
            bench.finish(bench.submit(*upscaling()))
        assert failure.value.code == "out_of_memory"
        assert tiles == [256, 128, 64] * 2
        bench.close()

    def test_a_second_failure_is_the_job_s_and_may_be_tried_elsewhere(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        once = Once(monkeypatch, Drawing, "__init__", times=2)
        with pytest.raises(RenderFailed) as failure:
            bench.finish(bench.submit(spec(SD15)))
        assert (failure.value.code, failure.value.retryable, once.calls) == ("out_of_memory", True, 2)
        bench.finish(bench.submit(spec(SD15)))


def upscaling() -> tuple[Any, dict[str, Image.Image]]:
    ref = model("upscaler.safetensors", Family.UPSCALER)
    job = spec(ref, operation=Operation.UPSCALE, init_images=("in",), upscale=UpscaleSpec(factor=2))
    return job, {"in": noise_picture(32)}
