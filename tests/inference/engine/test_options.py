"""Options that change how a picture is drawn: they do what they say, or the result says that they did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from inference.engine.errors import RenderFailed
from inference.engine.scheduler_names import CLASSIC, NICKNAMES, resolve
from inference.engine.spec import Family, ModelRef, Operation
from tests.inference.engine.bench import PROMPT, Bench, apart, model, noise_picture, seeded, spec
from tests.support import tiny_models

SAME = 1e-5
SD15 = model("sd15")
DOCUMENTED = [
    "DDPM",
    "DDIM",
    "PNDM",
    "LMSDiscrete",
    "EulerDiscrete",
    "EulerAncestralDiscrete",
    "DPMSolverMultistep",
    "HeunDiscrete",
    "KDPM2Discrete",
    "DPMSolverSinglestep",
    "KDPM2AncestralDiscrete",
    "UniPCMultistep",
    "DDIMInverse",
    "DEISMultistep",
    "IPNDM",
    "KarrasVe",
    "ScoreSdeVe",
    "LCM",
]


# diffusers' KDPM2 schedulers hand a tensor to numpy's cumsum.
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
class TestSchedulerNames:
    @pytest.mark.parametrize("name", DOCUMENTED)
    def test_every_documented_name_draws(self, bench: Bench, name: str) -> None:
        (output,) = bench.finish(bench.submit(spec(SD15, scheduler=f"{name}Scheduler", num_inference_steps=2)))
        drawn_with = output.used.get("scheduler", f"{name}Scheduler")
        assert drawn_with in CLASSIC
        if drawn_with != f"{name}Scheduler":
            assert any(name in note and drawn_with in note for note in output.notes)

    @pytest.mark.parametrize("name", DOCUMENTED)
    def test_case_and_the_word_scheduler_do_not_matter(self, name: str) -> None:
        assert resolve(name) == resolve(f"{name}Scheduler") == resolve(name.lower())
        assert resolve(name) is not None

    @pytest.mark.parametrize("name", NICKNAMES)
    def test_karras_may_follow_every_nickname(self, name: str) -> None:
        plain, karras = resolve(name), resolve(f"{name.title()} Karras")
        assert plain is not None
        assert karras is not None
        assert karras.class_name == plain.class_name
        assert karras.settings["use_karras_sigmas"]

    def test_a_scheduler_that_cannot_start_from_a_picture_is_replaced_and_said(self, bench: Bench) -> None:
        fields = {"operation": Operation.IMAGE_TO_IMAGE, "init_images": ("in",)}
        job = bench.submit(spec(SD15, scheduler="IPNDMScheduler", **fields), {"in": noise_picture()})
        (output,) = bench.finish(job)
        assert output.used["scheduler"] == "DDIMScheduler"
        assert any("IPNDMScheduler" in note for note in output.notes)

    def test_an_unknown_name_is_an_error_that_names_it(self, bench: Bench) -> None:
        with pytest.raises(RenderFailed, match="Magic") as failure:
            bench.finish(bench.submit(spec(SD15, scheduler="Magic")))
        assert failure.value.code == "invalid_scheduler"

    def test_settings_that_do_not_apply_are_reported(self, bench: Bench) -> None:
        job = spec(SD15, scheduler="DDIMScheduler", use_karras_sigmas=True, algorithm_type="sde-dpmsolver++")
        (output,) = bench.finish(bench.submit(job))
        assert output.used["use_karras_sigmas"] is False
        assert output.used["algorithm_type"] is None

    def test_a_name_asks_for_noise_levels_that_its_scheduler_may_not_have(self, bench: Bench) -> None:
        """Ancestral Euler knows no Karras levels: the reply must not say that they were used."""
        (output,) = bench.finish(bench.submit(spec(SD15, scheduler="Euler a Karras", use_karras_sigmas=True)))
        assert output.used["scheduler"] == "EulerAncestralDiscreteScheduler"
        assert output.used["use_karras_sigmas"] is False
        assert any("use_karras_sigmas" in note for note in output.notes)

    def test_exponential_noise_levels_go_before_karras(self, bench: Bench) -> None:
        told = {"use_karras_sigmas": True, "num_inference_steps": 3}
        names = ("DPM++ 2M Exponential", "DPM++ 2M Karras")
        jobs = [bench.submit(spec(SD15, scheduler=name, **told)) for name in names]
        exponential, karras = bench.finish(*jobs)
        assert exponential.used["use_karras_sigmas"] is False
        assert karras.used.get("use_karras_sigmas", True) is True
        assert exponential.images[0].image.tobytes() != karras.images[0].image.tobytes()

    @pytest.mark.parametrize(
        ("name", "usual"),
        [
            ("euler_ancestral", "Euler a"),
            ("k_euler_a", "Euler a"),
            ("k_dpm_2_ancestral", "DPM2 a"),
            ("dpm_2", "DPM2"),
            ("dpmpp_2m", "DPM++ 2M"),
            ("dpmpp_2m_sde", "DPM++ 2M SDE"),
            ("dpmpp_2s_ancestral", "DPM++ 2S a"),
            ("dpmpp_2m_karras", "DPM++ 2M Karras"),
            ("uni_pc", "UniPC"),
        ],
    )
    def test_other_interfaces_spell_the_same_samplers_their_way(self, name: str, usual: str) -> None:
        assert resolve(name) is not None
        assert resolve(name) == resolve(usual)

    @pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive", "Restart", "DPM++ 2M SDE Heun"])
    def test_samplers_of_automatic1111_draw_or_say_what_drew_instead(self, bench: Bench, name: str) -> None:
        (output,) = bench.finish(bench.submit(spec(SD15, scheduler=name, num_inference_steps=3)))
        said = any(name.split()[0] in note for note in output.notes)
        assert said is (name != "DPM++ 2M SDE Heun")

    def test_the_documented_misspelling_of_the_algorithm_is_understood(self, bench: Bench) -> None:
        job = spec(SD15, scheduler="DPMSolverMultistepScheduler", algorithm_type="dpmsolver+++")
        (output,) = bench.finish(bench.submit(job))
        assert output.used["algorithm_type"] == "dpmsolver++"


def plain(bench: Bench, cls: str, **more: Any) -> Any:
    folder = str(bench.settings.model_dir / "sd15")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    if cls != "StableDiffusionPipeline":
        parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
        pipe = getattr(diffusers, cls)(**parts, requires_safety_checker=False, **more)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_self_attention_is_perturbed_attention_guidance(bench: Bench) -> None:
    """Both kinds of rows share the forward, with and without classifier-free guidance."""
    pipe = plain(bench, "StableDiffusionPAGPipeline", pag_applied_layers="mid")
    jobs = [bench.submit(spec(SD15, self_attention=True, guidance_scale=g, seed=3)) for g in (6.0, 1.0)]
    other = bench.submit(spec(SD15, seed=4))
    outputs = bench.finish(*jobs, other)
    assert len(bench.recorded.forwards[-1]) == 3
    for job, guidance in zip(jobs, (6.0, 1.0), strict=True):
        told = {"prompt": PROMPT, "num_inference_steps": 4, "guidance_scale": guidance, "pag_scale": 3.0}
        expected = pipe(**told, generator=seeded(3), height=64, width=64, output_type="pt").images
        assert apart(bench.recorded.pixels[job.spec.token, 0], expected) <= SAME
    assert any("perturbed-attention" in note for note in outputs[0].notes)
    assert apart(bench.recorded.pixels[other.spec.token, 0], bench.draw(spec(SD15, seed=4))) <= SAME


def test_panorama_is_multidiffusion(tmp_path: Path) -> None:
    """Windows of the model's own size, a stride of an eighth, averaged at each step."""
    pipe = tiny_models.sd15()
    pipe.unet.register_to_config(sample_size=64)
    tiny_models.save(pipe, tmp_path / "sd15")
    bench = Bench(tmp_path, max_rows=4)
    job = spec(SD15, panorama=True, width_px=640, height_px=512, num_inference_steps=2)
    pixels = bench.draw(job)
    parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
    wide = diffusers.StableDiffusionPanoramaPipeline(**parts, requires_safety_checker=False)
    wide.set_progress_bar_config(disable=True)
    told = {"prompt": PROMPT, "num_inference_steps": 2, "guidance_scale": 7.5, "height": 512, "width": 640}
    expected = wide(**told, generator=seeded(7), output_type="pt").images
    bench.close()
    assert apart(pixels, expected) <= SAME


def test_highres_fix_draws_small_first_and_then_enlarges(bench: Bench) -> None:
    events: list[dict[str, Any]] = []
    job = bench.submit(spec(SD15, highres_fix=True, width_px=128, height_px=128), listener=events.append)
    (output,) = bench.finish(job)
    assert output.images[0].image.size == (128, 128)
    steps = [(event["step"], event["steps"]) for event in events if event["type"] == "step"]
    assert steps == [(i, 6) for i in range(1, 7)]
    assert apart(bench.recorded.pixels[job.spec.token, 0], bench.draw(spec(SD15, width_px=128, height_px=128))) > 0.001


def test_token_merging_changes_its_own_jobs_alone(tmp_path: Path) -> None:
    """The tiny network needs attention at full resolution: that is where tokens are merged."""
    pipe = tiny_models.sd15()
    attention = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    torch.manual_seed(1)
    pipe.unet = diffusers.UNet2DConditionModel.from_config({**pipe.unet.config, **attention})
    tiny_models.save(pipe, tmp_path / "sd15")
    bench = Bench(tmp_path)
    before = bench.draw(spec(SD15))
    jobs = [bench.submit(spec(SD15, tomesd=merged, seed=seed)) for merged, seed in ((True, 7), (True, 8), (False, 7))]
    bench.finish(*jobs)
    merged, _, untouched = (bench.recorded.pixels[job.spec.token, 0] for job in jobs)
    assert apart(merged, untouched) > 0.0001
    assert apart(untouched, before) <= SAME
    assert apart(merged, bench.draw(spec(SD15, tomesd=True))) <= SAME
    bench.close()


@pytest.mark.parametrize("field", ["highres_fix", "panorama"])
def test_an_option_without_effect_is_reported(bench: Bench, field: str) -> None:
    (output,) = bench.finish(bench.submit(spec(SD15, **{field: True})))
    assert output.used[field] is False
    assert any(field in note for note in output.notes)


class TestPrompt:
    def test_enhancement_and_trigger_words_show_in_what_was_used(self, bench: Bench) -> None:
        ref = ModelRef(model_id="sd15", family=Family.SD15, source="sd15", trigger_words="tiny style")
        (output,) = bench.finish(bench.submit(spec(ref, prompt="cat", enhance_prompt=True, enhance_style="anime")))
        assert output.used["prompt"].startswith("tiny style, cat")
        assert "anime" in output.used["prompt"]

    def test_a_prompt_beyond_what_is_read_is_said(self, bench: Bench) -> None:
        (output,) = bench.finish(bench.submit(spec(SD15, prompt="red " * 90)))
        assert any("first 75 tokens" in note for note in output.notes)

    def test_a_negative_prompt_without_guidance_is_said_to_have_no_effect(self, bench: Bench) -> None:
        (output,) = bench.finish(bench.submit(spec(SD15, negative_prompt="blue", guidance_scale=1.0)))
        assert any("negative_prompt" in note for note in output.notes)

    def test_layers_that_cannot_be_skipped_are_said(self, bench: Bench) -> None:
        (output,) = bench.finish(bench.submit(spec(SD15, clip_skip=7)))
        assert output.used["clip_skip"] == 2


def test_a_size_that_the_latents_cannot_hold_is_rounded_and_said(bench: Bench) -> None:
    (output,) = bench.finish(bench.submit(spec(SD15, width_px=70, height_px=64)))
    assert output.images[0].image.size == (64, 64)
    assert output.used["width_px"] == 64


@pytest.mark.parametrize(("side_px", "said"), [(24, "far below"), (32, ""), (88, ""), (128, "far above")])
def test_a_size_far_from_the_models_own_is_said(bench: Bench, side_px: int, said: str) -> None:
    """The tiny model's network was made for 64 px a side."""
    (output,) = bench.finish(bench.submit(spec(SD15, width_px=side_px, height_px=side_px)))
    assert output.images[0].image.size == (side_px, side_px)
    assert [note for note in output.notes if "made for" in note] == (
        [f"{side_px} x {side_px} px is {said} the 64 x 64 px that this model was made for: expect odd pictures."]
        if said
        else []
    )


def test_a_large_picture_that_is_drawn_by_the_models_own_size_is_not_odd(bench: Bench) -> None:
    (output,) = bench.finish(bench.submit(spec(SD15, width_px=128, height_px=128, highres_fix=True)))
    assert not any("made for" in note for note in output.notes)


def test_of_several_pictures_the_first_is_drawn_from_and_said(bench: Bench) -> None:
    pictures = {"in": noise_picture(), "second": noise_picture(seed=1)}
    jobs = [
        bench.submit(spec(SD15, operation=Operation.IMAGE_TO_IMAGE, init_images=keys), pictures)
        for keys in (("in", "second"), ("in",))
    ]
    several, one = bench.finish(*jobs)
    assert several.images[0].image.tobytes() == one.images[0].image.tobytes()
    assert any("Only the first picture" in note for note in several.notes)
    assert not any("first picture" in note for note in one.notes)


def test_a_picture_that_did_not_come_is_an_error(bench: Bench) -> None:
    job = spec(SD15, operation=Operation.IMAGE_TO_IMAGE, init_images=("elsewhere",))
    with pytest.raises(RenderFailed) as failure:
        bench.finish(bench.submit(job, {"in": noise_picture()}))
    assert failure.value.code == "invalid_input"
