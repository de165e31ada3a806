"""Jobs that share forwards get the pictures that plain diffusers draws for each of them alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)

from inference.engine.scheduler_names import CLASSIC
from inference.engine.schedulers import CLASSES, WITHOUT_MEMORY
from inference.engine.spec import Operation
from tests.inference.engine.bench import NEGATIVE, PROMPT, Bench, apart, half_mask, model, noise_picture, seeded, spec

SAME = 1e-5
SD15 = model("sd15")


def plainly(pipe: Any, cls: Any, scheduler: Any, **arguments: Any) -> torch.Tensor:
    """The plain pipeline's pixels, with a scheduler of its own."""
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    runner = cls(**(parts | {"scheduler": scheduler}), requires_safety_checker=False)
    runner.set_progress_bar_config(disable=True)
    pixels: torch.Tensor = runner(output_type="pt", **arguments).images
    return pixels


def own_scheduler(pipe: Any, name: str, **settings: Any) -> Any:
    return CLASSES[name].from_config(pipe.scheduler.config, **settings)


# diffusers' KDPM2 schedulers hand a tensor to numpy's cumsum.
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
class TestOneForwardForMany:
    def test_every_scheduler_in_one_batch_draws_what_it_draws_alone(self, bench: Bench, plain_sd15: Any) -> None:
        jobs = {
            name: bench.submit(
                spec(
                    SD15,
                    scheduler=name,
                    seed=place,
                    num_inference_steps=4 + place % 5,
                    guidance_scale=1.0 + place,
                    negative_prompt=NEGATIVE if place % 2 else "",
                )
            )
            for place, name in enumerate(CLASSIC)
        }
        bench.finish(*jobs.values())
        assert max(len(rows) for rows in bench.recorded.forwards) > 5
        for name, job in jobs.items():
            seeding = {"noise_sampler_seed": job.spec.seed} if name == "DPMSolverSDEScheduler" else {}
            expected = plainly(
                plain_sd15,
                StableDiffusionPipeline,
                own_scheduler(plain_sd15, name, **seeding),
                prompt=PROMPT,
                negative_prompt=job.spec.negative_prompt,
                guidance_scale=job.spec.guidance_scale,
                num_inference_steps=job.spec.num_inference_steps,
                generator=seeded(job.spec.seed),
                height=64,
                width=64,
            )
            assert apart(bench.recorded.pixels[job.spec.token, 0], expected) <= SAME, name

    def test_a_job_joins_between_the_steps_of_another(self, bench: Bench, plain_sd15: Any) -> None:
        early = bench.submit(spec(SD15, num_inference_steps=9, seed=1))
        bench.turn(4)
        late = bench.submit(spec(SD15, num_inference_steps=3, seed=2, account="bob"))
        bench.finish(early, late)
        shared = [
            rows for rows in bench.recorded.forwards if {early.spec.token, late.spec.token} <= {t for t, _ in rows}
        ]
        assert len(shared) == 3
        for job in (early, late):
            expected = plainly(
                plain_sd15,
                StableDiffusionPipeline,
                own_scheduler(plain_sd15, "DDIMScheduler"),
                prompt=PROMPT,
                num_inference_steps=job.spec.num_inference_steps,
                generator=seeded(job.spec.seed),
                height=64,
                width=64,
            )
            assert apart(bench.recorded.pixels[job.spec.token, 0], expected) <= SAME

    @pytest.mark.parametrize("name", WITHOUT_MEMORY[:2])
    def test_schedulers_at_one_pace_step_together(
        self, bench: Bench, plain_sd15: Any, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two join at the same step, a third later: it steps alone although it shares the forward."""
        real, sizes = CLASSES[name].step, []

        def step(scheduler: Any, prediction: torch.Tensor, *args: Any, **more: Any) -> Any:
            sizes.append(len(prediction))
            return real(scheduler, prediction, *args, **more)

        monkeypatch.setattr(CLASSES[name], "step", step)
        jobs = [bench.submit(spec(SD15, scheduler=name, seed=seed)) for seed in (1, 2)]
        bench.turn(1)
        jobs.append(bench.submit(spec(SD15, scheduler=name, seed=3)))
        bench.finish(*jobs)
        assert Counter(sizes) == {2: 4, 1: 4}
        monkeypatch.undo()
        for job in jobs:
            expected = plainly(
                plain_sd15,
                StableDiffusionPipeline,
                own_scheduler(plain_sd15, name),
                prompt=PROMPT,
                num_inference_steps=4,
                generator=seeded(job.spec.seed),
                height=64,
                width=64,
            )
            assert apart(bench.recorded.pixels[job.spec.token, 0], expected) <= SAME

    def test_karras_and_sde_settings_reach_the_scheduler(self, bench: Bench, plain_sd15: Any) -> None:
        job = spec(SD15, scheduler="DPM++ 2M SDE Karras", num_inference_steps=6)
        settings = {"use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}
        scheduler = DPMSolverMultistepScheduler.from_config(plain_sd15.scheduler.config, **settings)
        expected = plainly(
            plain_sd15,
            StableDiffusionPipeline,
            scheduler,
            prompt=PROMPT,
            num_inference_steps=6,
            generator=seeded(7),
            height=64,
            width=64,
        )
        assert apart(bench.draw(job), expected) <= SAME

    def test_image_k_uses_the_seed_plus_k(self, bench: Bench) -> None:
        several = spec(SD15, samples=3, seed=40)
        (output,) = bench.finish(bench.submit(several))
        assert [image.seed for image in output.images] == [40, 41, 42]
        assert apart(bench.recorded.pixels[several.token, 2], bench.draw(spec(SD15, seed=42))) <= SAME

    def test_clip_skip_is_the_pipelines_own(self, bench: Bench, plain_sd15: Any) -> None:
        expected = plainly(
            plain_sd15,
            StableDiffusionPipeline,
            own_scheduler(plain_sd15, "DDIMScheduler"),
            prompt=PROMPT,
            clip_skip=1,
            num_inference_steps=4,
            generator=seeded(7),
            height=64,
            width=64,
        )
        assert apart(bench.draw(spec(SD15, clip_skip=1)), expected) <= SAME
        assert apart(bench.draw(spec(SD15)), expected) > 0.001


class TestFromPictures:
    @pytest.mark.parametrize("name", ["DDIMScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"])
    def test_image_to_image(self, bench: Bench, plain_sd15: Any, name: str) -> None:
        job = spec(
            SD15,
            operation=Operation.IMAGE_TO_IMAGE,
            init_images=("in",),
            strength=0.6,
            scheduler=name,
            num_inference_steps=8,
        )
        expected = plainly(
            plain_sd15,
            StableDiffusionImg2ImgPipeline,
            own_scheduler(plain_sd15, name),
            prompt=PROMPT,
            strength=0.6,
            image=noise_picture(),
            num_inference_steps=8,
            generator=seeded(7),
        )
        assert apart(bench.draw(job, {"in": noise_picture()}), expected) <= SAME

    @pytest.mark.parametrize("strength", [0.5, 1.0])
    @pytest.mark.parametrize("source", ["sd15", "sd15-inpainting"])
    def test_inpaint(self, bench: Bench, model_dir: Any, source: str, strength: float) -> None:
        pipe = StableDiffusionPipeline.from_pretrained(str(model_dir / source), safety_checker=None)
        name = "EulerAncestralDiscreteScheduler"  # Draws from the generator at every step: the order of draws shows.
        job = spec(
            model(source),
            operation=Operation.INPAINT,
            init_images=("in",),
            mask_image="mask",
            strength=strength,
            scheduler=name,
            num_inference_steps=6,
        )
        expected = plainly(
            pipe,
            StableDiffusionInpaintPipeline,
            own_scheduler(pipe, name),
            prompt=PROMPT,
            strength=strength,
            image=noise_picture(),
            mask_image=half_mask(),
            num_inference_steps=6,
            generator=seeded(7),
            height=64,
            width=64,
        )
        pixels = bench.draw(job, {"in": noise_picture(), "mask": half_mask()})
        assert apart(pixels, expected) <= SAME

    def test_pixels_outside_the_mask_are_untouched(self, bench: Bench) -> None:
        job = spec(SD15, operation=Operation.INPAINT, init_images=("in",), mask_image="mask", strength=1.0)
        (output,) = bench.finish(bench.submit(job, {"in": noise_picture(), "mask": half_mask()}))
        right = (32, 0, 64, 64)
        assert output.images[0].image.crop(right).tobytes() == noise_picture().crop(right).tobytes()
        assert output.images[0].image.tobytes() != noise_picture().tobytes()

    def test_outpaint_keeps_the_picture_in_the_middle(self, bench: Bench) -> None:
        job = spec(SD15, operation=Operation.OUTPAINT, init_images=("in",), width_px=96, height_px=64)
        (output,) = bench.finish(bench.submit(job, {"in": noise_picture(48)}))
        image = output.images[0].image
        assert image.size == (96, 64)
        assert image.crop((24, 8, 72, 56)).tobytes() == noise_picture(48).tobytes()
