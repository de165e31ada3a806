"""The words of jobs that start together are read in one pass, and mean what they mean alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.engine import reading, schedulers
from inference.engine.families.registry import FAMILIES
from inference.engine.scheduler_names import CLASSIC
from inference.engine.spec import AdapterRef, Family
from tests.inference.engine.bench import Bench, apart, model, spec
from tests.support import tiny_models

SAME = 1e-5
MAKERS: dict[str, Callable[[], Any]] = {
    "sd15": tiny_models.sd15,
    "sdxl": tiny_models.sdxl,
    "sd3": tiny_models.sd3,
    "flux": tiny_models.flux,
}
TEXTS: tuple[dict[str, Any], ...] = (
    {"prompt": "a red cat"},
    {"prompt": "a blue dog", "negative_prompt": "a red cat", "guidance_scale": 3.0},
    {"prompt": "a red cat", "clip_skip": 1, "negative_prompt": "a dog"},
    {"prompt": "a photo", "guidance_scale": 1.0},
    {"prompt": "", "clip_skip": 1, "guidance_scale": 1.0},
)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("reading")
    for name, make in MAKERS.items():
        tiny_models.save(make(), folder / name)
    bench = Bench(folder)
    yield bench
    bench.close()


class Readings:
    """How many jobs each reading was for."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, fails: Callable[[list[Any]], bool] = lambda works: False
    ) -> None:
        self.sizes: list[int] = []
        real = reading.read

        def read(works: list[Any]) -> None:
            self.sizes.append(len(works))
            if fails(works):
                raise RuntimeError("index out of bounds")
            real(works)

        monkeypatch.setattr(reading, "read", read)


@pytest.mark.parametrize("name", MAKERS)
def test_each_job_draws_what_it_draws_alone(every: Bench, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = model(name, Family(name))
    alone = [every.draw(spec(ref, num_inference_steps=2, **text)) for text in TEXTS]
    readings = Readings(monkeypatch)
    jobs = [every.submit(spec(ref, num_inference_steps=2, account=str(i), **text)) for i, text in enumerate(TEXTS)]
    every.finish(*jobs)
    assert readings.sizes == [len(TEXTS)]
    for job, expected in zip(jobs, alone, strict=True):
        assert apart(every.recorded.pixels[job.spec.token, 0], expected) <= SAME


def test_equal_words_are_read_once(every: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = model("sd15")
    every.draw(spec(ref, num_inference_steps=1))
    encoder = next(r for r in every.pool.residents.values() if r.ref.label == "sd15").part.value.pipe.text_encoder
    rows = []
    hook = encoder.register_forward_hook(lambda module, args, output: rows.append(len(output[0])))
    every.finish(*(every.submit(spec(ref, prompt=text, account=text)) for text in ("a", "b", "c", "c")))
    hook.remove()
    assert rows == [4]  # three prompts, and the empty negative prompt of all


def test_who_changes_the_encoders_or_wants_his_own_forward_reads_alone(
    every: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    word = tmp_path / "word.safetensors"
    save_file({"<cat>": torch.randn(2, 32, generator=torch.Generator().manual_seed(5))}, word)
    readings = Readings(monkeypatch)
    ref = model("sd15")
    embedding = AdapterRef(adapter_id="<cat>", source=str(word))
    jobs = [
        every.submit(spec(ref, prompt="<cat>", embeddings=(embedding,))),
        every.submit(spec(ref, deterministic=True, account="bob")),
        every.submit(spec(ref, account="charlie")),
        every.submit(spec(ref, account="dora", prompt="a dog")),
    ]
    every.finish(*jobs)
    assert sorted(readings.sizes) == [1, 1, 2]


def test_words_that_cannot_be_read_cost_their_own_job(every: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    Readings(monkeypatch, fails=lambda works: any(work.spec.prompt == "bad" for work in works))
    bad, good = (every.submit(spec(model("sd15"), prompt=text, account=text)) for text in ("bad", "good"))
    every.finish(good)
    assert bad.future.exception().code == "engine_error"


def test_more_than_one_pass_gains_from_are_read_in_several(every: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_MAX", 2)
    readings = Readings(monkeypatch)
    every.finish(*(every.submit(spec(model("sd15"), prompt=text, account=text)) for text in "abcde"))
    assert readings.sizes == [2, 2, 1]


# diffusers' KDPM2 schedulers hand a tensor to numpy's cumsum.
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("name", CLASSIC)
def test_no_scheduler_writes_into_what_its_copies_share(plain_sd15: Any, name: str) -> None:
    plan = schedulers.plan(plain_sd15.scheduler, name=name, steps=6, allowed=CLASSIC)
    plan.build(0)
    fresh = next(made for key, made in schedulers._templates[plain_sd15.scheduler].items() if key[0] == plan.class_name)
    before = copy.deepcopy(vars(fresh))
    scheduler = plan.build(1)
    scheduler.set_timesteps(6)
    latents = torch.ones(1, 4, 8, 8)
    for step in scheduler.timesteps:
        scheduler.scale_model_input(latents, step)
        arguments = schedulers.step_arguments(scheduler, torch.Generator().manual_seed(0))
        latents = scheduler.step(latents * 0.1, step, latents, **arguments).prev_sample
    for attribute, value in before.items():
        now = getattr(fresh, attribute)
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(now, value, rtol=0, atol=0, equal_nan=True, msg=attribute)
        else:
            assert str(now) == str(value), attribute


def test_all_families_are_tried_here() -> None:
    assert set(MAKERS) == {family.value for family in FAMILIES}
