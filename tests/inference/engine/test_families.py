"""Every family draws what its plain diffusers pipelines draw, many jobs in one forward, and survives a reload."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from inference.engine.errors import RenderFailed
from inference.engine.spec import ControlRef, Family, Operation
from tests.inference.engine.bench import (
    NEGATIVE,
    PROMPT,
    Bench,
    apart,
    half_mask,
    model,
    noise_picture,
    seeded,
    spec,
)
from tests.support import tiny_models

SAME = 1e-5
BUILDERS: dict[str, tuple[Family, Callable[[], Any]]] = {
    "sdxl": (Family.SDXL, tiny_models.sdxl),
    "sdxl-inpainting": (Family.SDXL, lambda: tiny_models.sdxl(in_channels=9)),
    "sd3": (Family.SD3, tiny_models.sd3),
    "sd35": (Family.SD3, lambda: tiny_models.sd3(dual_attention_layers=(0,), qk_norm="rms_norm")),
    "flux-dev": (Family.FLUX, tiny_models.flux),
    "flux-schnell": (Family.FLUX, lambda: tiny_models.flux(guidance=False)),
}
PIPELINES = {
    Family.SDXL: ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
    Family.SD3: ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
    Family.FLUX: ("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
}


@pytest.fixture(scope="module")
def families_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for name, (_, build) in BUILDERS.items():
        tiny_models.save(build(), folder / name)
    tiny_models.save(tiny_models.sdxl_refiner(), folder / "sdxl-refiner")
    tiny_models.save(tiny_models.flow_controlnet(tiny_models.flux().transformer), folder / "flux-dev-control")
    tiny_models.save(tiny_models.flow_controlnet(tiny_models.sd3().transformer), folder / "sd3-control")
    return folder


@pytest.fixture(scope="module")
def bench(families_dir: Path) -> Iterator[Bench]:
    bench = Bench(families_dir)
    yield bench
    bench.close()


def plain(families_dir: Path, name: str, which: int) -> Any:
    """The plain pipeline for text (0), for a picture (1), for a mask (2)."""
    pipe = getattr(diffusers, PIPELINES[BUILDERS[name][0]][which]).from_pretrained(str(families_dir / name))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def expected(pipe: Any, job: Any, **more: Any) -> torch.Tensor:
    """The plain pipeline's pixels for this job. SD3's inpainting pipeline forgets the shift when it decodes."""
    told = {"prompt": job.prompt, "num_inference_steps": job.num_inference_steps, "generator": seeded(job.seed)}
    told["guidance_scale"] = job.guidance_scale
    if not isinstance(pipe, diffusers.FluxPipeline | diffusers.FluxImg2ImgPipeline | diffusers.FluxInpaintPipeline):
        told["negative_prompt"] = job.negative_prompt or None
    if isinstance(pipe, diffusers.StableDiffusion3InpaintPipeline):
        latents = pipe(output_type="latent", **told, **more).images
        told_vae = pipe.vae.config
        with torch.no_grad():
            pixels = pipe.vae.decode(latents / told_vae.scaling_factor + told_vae.shift_factor).sample
        return (pixels / 2 + 0.5).clamp(0, 1)
    return pipe(output_type="pt", **told, **more).images


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "sdxl-inpainting"])
def test_text_to_image_shares_forwards(bench: Bench, families_dir: Path, name: str) -> None:
    ref = model(name, BUILDERS[name][0])
    fields = [
        {"seed": 1, "guidance_scale": 5.0, "num_inference_steps": 5, "negative_prompt": NEGATIVE},
        {"seed": 2, "guidance_scale": 1.0, "num_inference_steps": 3, "prompt": "blue dog"},
        {"seed": 3, "guidance_scale": 3.0, "num_inference_steps": 4},
    ]
    jobs = [bench.submit(spec(ref, **more)) for more in fields]
    bench.finish(*jobs)
    assert len(bench.recorded.forwards[-4]) > 1
    pipe = plain(families_dir, name, 0)
    for job in jobs:
        length = {"max_sequence_length": 256} if name == "flux-schnell" else {}  # What schnell was trained on.
        picture = expected(pipe, job.spec, width=64, height=64, **length)
        assert apart(bench.recorded.pixels[job.spec.token, 0], picture) <= SAME


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux-dev"])
def test_image_to_image(bench: Bench, families_dir: Path, name: str) -> None:
    job = spec(
        model(name, BUILDERS[name][0]),
        operation=Operation.IMAGE_TO_IMAGE,
        init_images=("in",),
        strength=0.55,
        num_inference_steps=7,
    )
    picture = expected(
        plain(families_dir, name, 1),
        job,
        image=noise_picture(),
        strength=0.55,
        **({} if name == "sdxl" else {"width": 64, "height": 64}),
    )
    assert apart(bench.draw(job, {"in": noise_picture()}), picture) <= SAME


@pytest.mark.parametrize("name", ["sdxl", "sdxl-inpainting", "sd3", "flux-dev"])
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpaint(bench: Bench, families_dir: Path, name: str, strength: float) -> None:
    job = spec(
        model(name, BUILDERS[name][0]),
        operation=Operation.INPAINT,
        init_images=("in",),
        mask_image="mask",
        strength=strength,
        num_inference_steps=5,
    )
    picture = expected(
        plain(families_dir, name, 2),
        job,
        image=noise_picture(),
        mask_image=half_mask(),
        strength=strength,
        width=64,
        height=64,
    )
    assert apart(bench.draw(job, {"in": noise_picture(), "mask": half_mask()}), picture) <= SAME


def test_wide_and_tall_pictures_keep_their_shape(bench: Bench, families_dir: Path) -> None:
    for name in ("sdxl", "sd3", "flux-dev"):
        job = spec(model(name, BUILDERS[name][0]), width_px=96, height_px=64)
        picture = expected(plain(families_dir, name, 0), job, width=96, height=64)
        assert apart(bench.draw(job), picture) <= SAME


def test_the_refiner_works_on_a_picture_and_on_nothing_else(bench: Bench, families_dir: Path) -> None:
    ref = model("sdxl-refiner", Family.SDXL)
    job = spec(ref, operation=Operation.IMAGE_TO_IMAGE, init_images=("in",), strength=0.4, num_inference_steps=6)
    pipe = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(str(families_dir / "sdxl-refiner"))
    pipe.set_progress_bar_config(disable=True)
    picture = expected(pipe, job, image=noise_picture(), strength=0.4)
    assert apart(bench.draw(job, {"in": noise_picture()}), picture) <= SAME
    with pytest.raises(RenderFailed) as failure:
        bench.finish(bench.submit(spec(ref)))
    assert failure.value.code == "unsupported_operation"


def test_kontext_edits_the_picture_that_it_sees(families_dir: Path, tmp_path: Path) -> None:
    pipe = diffusers.FluxKontextPipeline(**tiny_models.flux().components)
    pipe.set_progress_bar_config(disable=True)
    tiny_models.save(pipe, tmp_path / "kontext")
    bench = Bench(tmp_path)
    job = spec(
        model("kontext", Family.FLUX),
        operation=Operation.IMAGE_TO_IMAGE,
        init_images=("in",),
        num_inference_steps=2,
        guidance_scale=2.5,
    )
    pixels = bench.draw(job, {"in": noise_picture()})
    picture = pipe(
        prompt=PROMPT,
        image=noise_picture(),
        width=64,
        height=64,
        max_area=64 * 64,
        num_inference_steps=2,
        guidance_scale=2.5,
        generator=seeded(7),
        output_type="pt",
    ).images
    bench.close()
    assert apart(pixels, picture) <= SAME


def test_what_flux_ignores_is_reported(bench: Bench) -> None:
    job = spec(
        model("flux-schnell", Family.FLUX), negative_prompt=NEGATIVE, clip_skip=2, guidance_scale=7.0, scheduler="UniPC"
    )
    (output,) = bench.finish(bench.submit(job))
    assert output.used["negative_prompt"] == ""
    assert output.used["clip_skip"] == 0
    assert output.used["guidance_scale"] == 0.0
    assert output.used["scheduler"] == "FlowMatchEulerDiscreteScheduler"
    assert any("UniPC" in note for note in output.notes)


def test_an_inpainting_network_also_draws_without_a_mask(bench: Bench) -> None:
    (output,) = bench.finish(bench.submit(spec(model("sdxl-inpainting", Family.SDXL))))
    assert output.images[0].image.size == (64, 64)


class TestControl:
    HINTS = {"hint": noise_picture(seed=4)}

    def controlled(self, name: str, family: Family, scale: float, kind: str = "tile") -> Any:
        ref = ControlRef(kind=kind, source=f"{name}-control", scale=scale, image="hint")
        return spec(model(name, family), controls=(ref,), guidance_scale=1.0, num_inference_steps=3)

    def test_flux_union_networks_are_told_the_kind(self, bench: Bench, families_dir: Path) -> None:
        from diffusers import FluxControlNetModel, FluxControlNetPipeline

        told = [("gray", 5, 0.7), ("gray", 5, 0.3), ("tile", 1, 0.7)]
        jobs = [bench.submit(self.controlled("flux-dev", Family.FLUX, s, kind), self.HINTS) for kind, _, s in told]
        bench.finish(*jobs)
        assert (
            max(len(rows) for rows in bench.recorded.forwards[-6:]) == 2
        )  # One network, but another kind is another key.
        net = FluxControlNetModel.from_pretrained(str(families_dir / "flux-dev-control"))
        parts = {k: v for k, v in plain(families_dir, "flux-dev", 0).components.items() if v is not None}
        pipe = FluxControlNetPipeline(**parts, controlnet=net)
        pipe.set_progress_bar_config(disable=True)
        for job, (_, mode, scale) in zip(jobs, told, strict=True):
            picture = pipe(
                prompt=PROMPT,
                control_image=self.HINTS["hint"],
                control_mode=mode,
                controlnet_conditioning_scale=scale,
                guidance_scale=1.0,
                num_inference_steps=3,
                generator=seeded(7),
                width=64,
                height=64,
                output_type="pt",
            ).images
            assert apart(bench.recorded.pixels[job.spec.token, 0], picture) <= SAME

    def test_sd3(self, bench: Bench, families_dir: Path) -> None:
        """The plain pipeline draws the hint's latents from torch's global generator."""
        from diffusers import SD3ControlNetModel, StableDiffusion3ControlNetPipeline

        pixels = bench.draw(self.controlled("sd3", Family.SD3, 0.6), self.HINTS)
        without = bench.draw(spec(model("sd3", Family.SD3), guidance_scale=1.0, num_inference_steps=3))
        net = SD3ControlNetModel.from_pretrained(str(families_dir / "sd3-control"))
        parts = {k: v for k, v in plain(families_dir, "sd3", 0).components.items() if v is not None}
        pipe = StableDiffusion3ControlNetPipeline(**parts, controlnet=net)
        pipe.set_progress_bar_config(disable=True)
        torch.manual_seed(7)
        generator = torch.Generator().manual_seed(7)
        torch.randn(1, 16, 8, 8, generator=generator)  # The engine draws both from the picture's own generator.
        picture = pipe(
            prompt=PROMPT,
            control_image=self.HINTS["hint"],
            controlnet_conditioning_scale=0.6,
            guidance_scale=1.0,
            num_inference_steps=3,
            generator=generator,
            width=64,
            height=64,
            output_type="pt",
        ).images
        assert apart(pixels, picture) <= SAME
        assert apart(pixels, without) > 0.001

    def test_a_network_of_another_family_is_refused(self, bench: Bench) -> None:
        job = self.controlled("sd3", Family.SD3, 1.0)
        wrong = dataclasses.replace(job, model=model("flux-dev", Family.FLUX))
        with pytest.raises(RenderFailed) as failure:
            bench.finish(bench.submit(wrong, self.HINTS))
        assert failure.value.code == "invalid_adapter"
