"""The engine as the render worker uses it: a thread of its own, settings from the environment, no torch for others."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from inference.engine import Engine, EngineSettings, RenderFailed
from inference.engine.pool import Pool
from inference.engine.spec import BackgroundSpec, Family, ModelRef, Operation, RenderSpec, SafetySpec, UpscaleSpec
from tests.inference.engine.bench import model, noise_picture, spec
from tests.support import tiny_models

SD15 = model("sd15")


@pytest.fixture(scope="module")
def engine(model_dir: Path) -> Iterator[Engine]:
    with Engine(EngineSettings(model_dir=model_dir, device="cpu", threads=1)) as engine:
        yield engine


class TestEngine:
    def test_jobs_from_many_threads(self, engine: Engine) -> None:
        jobs = [engine.submit(spec(SD15, account=f"a{i % 3}", seed=i)) for i in range(6)]
        outputs = [job.result(timeout=60) for job in jobs]
        assert all(len(output.images) == 1 for output in outputs)
        assert all(output.run_ms >= 0 and output.gpu_time_ms > 0 for output in outputs)

    def test_an_idle_engine_loads_what_comes_at_once(self, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("inference.engine.loop.IDLE_S", 30)
        with Engine(EngineSettings(model_dir=model_dir, device="cpu", threads=1)) as fresh:
            assert fresh.submit(spec(SD15)).result(timeout=20).images
            assert fresh.preload(model("sd15-inpainting")).result(timeout=20) >= 0

    def test_a_spec_that_travelled_draws_the_same(self, engine: Engine) -> None:
        original = spec(SD15)
        travelled = RenderSpec.from_dict(original.to_dict())
        pictures = [engine.submit(s).result(60).images[0].image.tobytes() for s in (original, travelled)]
        assert pictures[0] == pictures[1]

    def test_preload_pin_and_evict(self, engine: Engine) -> None:
        assert engine.preload(model("sd15-inpainting")).result(60) >= 0
        engine.pin("sd15-inpainting", True)
        engine.submit(spec(SD15)).result(60)
        resident = {entry.model_id: entry for entry in engine.status().resident}
        assert resident["sd15-inpainting"].pinned
        assert resident["sd15-inpainting"].bytes > 1_000_000
        assert engine.status().pinned == ("sd15-inpainting",)
        assert not engine.evict("sd15-inpainting").result(60)
        engine.pin("sd15-inpainting", False)
        assert engine.evict("sd15-inpainting").result(60)
        with pytest.raises(RenderFailed):
            engine.preload(model("nowhere")).result(60)

    def test_a_command_that_is_done_shows_in_the_status(self, engine: Engine) -> None:
        def resident() -> dict[str, bool]:
            return {entry.model_id: entry.pinned for entry in engine.status().resident}

        engine.preload(model("sd15-inpainting")).result(60)
        assert resident()["sd15-inpainting"] is False
        engine.pin("sd15-inpainting", True).result(60)
        assert resident()["sd15-inpainting"] is True
        engine.pin("sd15-inpainting", False).result(60)
        assert resident()["sd15-inpainting"] is False
        engine.evict("sd15-inpainting").result(60)
        assert "sd15-inpainting" not in resident()

    def test_an_operation_without_steps(self, engine: Engine, model_dir: Path) -> None:
        torch.save({"params_ema": tiny_models.rrdbnet_state()}, model_dir / "tiny_x4.pth")
        job = spec(
            model("tiny_x4.pth", Family.UPSCALER),
            operation=Operation.UPSCALE,
            init_images=("in",),
            upscale=UpscaleSpec(factor=3),
        )
        output = engine.submit(job, {"in": noise_picture(20)}).result(60)
        assert output.images[0].image.size == (60, 60)
        assert output.used["width_px"] == 60

    def test_an_upscaler_is_known_by_its_name_in_the_catalogue(self, engine: Engine, model_dir: Path) -> None:
        torch.save(tiny_models.rrdbnet_state(), model_dir / "named_x4.pth")
        ref = ModelRef(model_id="ultra", family=Family.UPSCALER, source="named_x4.pth")
        engine.preload(ref).result(60)
        engine.submit(spec(ref, operation=Operation.UPSCALE, init_images=("in",)), {"in": noise_picture(8)}).result(60)
        assert [entry.model_id for entry in engine.status().resident].count("ultra") == 1
        with pytest.raises(RenderFailed) as failure:
            engine.submit(spec(SD15, operation=Operation.UPSCALE, init_images=("in",)), {"in": noise_picture()}).result(
                60
            )
        assert failure.value.code == "unsupported_operation"

    def test_closing_fails_what_is_under_way_as_retryable(self, model_dir: Path) -> None:
        engine = Engine(EngineSettings(model_dir=model_dir, device="cpu"))
        job = engine.submit(spec(SD15, num_inference_steps=1000))
        engine.close()
        late = engine.submit(spec(SD15))
        for refused in (job, late):
            with pytest.raises(RenderFailed) as failure:
                refused.result(10)
            assert failure.value.retryable


def test_a_failing_turn_does_not_end_the_thread(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(EngineSettings(model_dir=model_dir, device="cpu")) as engine:
        engine.submit(spec(SD15)).result(60)
        real, broken = Pool.pump, [True]

        def pump(pool: Pool) -> None:
            if broken:
                broken.clear()
                raise KeyError("a bug")
            real(pool)

        monkeypatch.setattr(Pool, "pump", pump)
        with pytest.raises(RenderFailed) as failure:
            engine.submit(spec(SD15)).result(60)
        assert failure.value.retryable
        assert engine.submit(spec(SD15)).result(60).images


class TestFinishing:
    def test_flagged_pictures_are_blanked_and_marked(self, engine: Engine, model_dir: Path, tmp_path: Path) -> None:
        plain = engine.submit(spec(SD15)).result(60)
        for flags in (True, False):
            folder = tmp_path / f"safety-{flags}"
            checker, processor = tiny_models.safety_checker(flags=flags)
            tiny_models.save(checker, folder)
            tiny_models.save(processor, folder)
            with Engine(EngineSettings(model_dir=model_dir, device="cpu", safety_dir=folder)) as checked:
                told = SafetySpec(enabled=True, action="black")
                output = checked.submit(spec(SD15, safety=told)).result(60)
            assert output.images[0].flagged is flags
            assert (output.images[0].image.getextrema() == ((0, 0),) * 3) is flags
            assert (output.images[0].image.tobytes() == plain.images[0].image.tobytes()) is not flags

    def test_a_missing_checker_is_said_or_fails_as_the_operator_wants(self, engine: Engine, model_dir: Path) -> None:
        asked = spec(SD15, safety=SafetySpec(enabled=True))
        output = engine.submit(asked).result(60)
        assert output.used["safety"]["enabled"] is False
        assert any("not checked" in note for note in output.notes)
        with (
            Engine(EngineSettings(model_dir=model_dir, device="cpu", require_safety=True)) as strict,
            pytest.raises(RenderFailed) as failure,
        ):
            strict.submit(asked).result(60)
        assert failure.value.code == "safety_missing"

    def test_drawn_pictures_are_enlarged_and_say_by_what(self, engine: Engine) -> None:
        output = engine.submit(spec(SD15, upscale=UpscaleSpec(factor=2))).result(60)
        assert output.images[0].image.size == (128, 128)
        assert any("resampling" in note for note in output.notes)

    def test_by_the_installed_upscaler(self, model_dir: Path) -> None:
        (model_dir / "enlarge").mkdir()
        torch.save(tiny_models.rrdbnet_state(), model_dir / "enlarge" / "x4.pth")
        settings = EngineSettings(model_dir=model_dir, device="cpu", upscaler=Path("enlarge"))
        with Engine(settings) as engine:
            output = engine.submit(spec(SD15, upscale=UpscaleSpec(factor=2))).result(60)
        assert output.images[0].image.size == (128, 128)
        assert not output.notes

    def test_a_background_job_without_a_model_says_what_to_add(self, engine: Engine) -> None:
        job = spec(
            model("u2net.pth", Family.BACKGROUND),
            operation=Operation.REMOVE_BACKGROUND,
            init_images=("in",),
            background=BackgroundSpec(),
        )
        with pytest.raises(RenderFailed) as failure:
            engine.submit(job, {"in": noise_picture()}).result(60)
        assert failure.value.code == "model_missing"


class TestSettings:
    def test_from_the_environment(self) -> None:
        told = {"MODEL_DIR": "/data", "RENDER_MAX_ROWS": "8", "RENDER_ALLOW_HUB": "yes", "RENDER_DTYPE": "float16"}
        settings = EngineSettings.from_environ(told)
        assert settings == EngineSettings(model_dir=Path("/data"), max_rows=8, allow_hub=True, dtype="float16")
        assert EngineSettings.from_environ({}) == EngineSettings()

    @pytest.mark.parametrize(("name", "value"), [("RENDER_MAX_ROWS", "many"), ("RENDER_ALLOW_HUB", "perhaps")])
    def test_nonsense_is_named(self, name: str, value: str) -> None:
        with pytest.raises(ValueError, match=name):
            EngineSettings.from_environ({name: value})

    @pytest.mark.parametrize("field", ["compile", "attention_backend", "warm_models", "dtype"])
    def test_names_that_the_libraries_do_not_know_are_refused_at_start(self, model_dir: Path, field: str) -> None:
        value = ("sd99:model",) if field == "warm_models" else "warp"
        with pytest.raises(ValueError, match=field):
            Engine(EngineSettings(model_dir=model_dir, device="cpu", **{field: value}))

    def test_models_are_warmed_up_at_start(self, model_dir: Path) -> None:
        settings = EngineSettings.from_environ({"RENDER_WARM_MODELS": "sd15:sd15, sd15:sd15-inpainting"})
        with Engine(dataclasses.replace(settings, model_dir=model_dir, device="cpu")) as engine:
            for _ in range(600):
                if engine.status().images_done == 2:
                    break
                time.sleep(0.05)
            assert {entry.model_id for entry in engine.status().resident} == {"sd15", "sd15-inpainting"}

    def test_half_precision_draws_too(self, model_dir: Path) -> None:
        with Engine(EngineSettings(model_dir=model_dir, device="cpu", dtype="bfloat16")) as engine:
            output = engine.submit(spec(SD15)).result(60)
            assert engine.status().dtype == "bfloat16"
        assert output.images[0].image.getextrema() != ((0, 0),) * 3


def test_the_web_side_imports_the_vocabulary_without_torch() -> None:
    code = (
        "import sys; import inference.engine, inference.engine.spec, inference.engine.scheduler_names;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
