"""The shipped demo model and its making: files as promised, every pipeline works, training stops and goes on."""

import json
import random
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from PIL import Image
from safetensors import safe_open
from transformers import CLIPTokenizer

from inference.demo import DEFAULTS, MODEL_DIR, NATIVE_SIDE_PX, build, parts
from inference.demo.draw import COLOURS, Scene, Thing, picture, plain_caption
from inference.demo.measure import reading
from inference.demo.score import hits
from inference.demo.train_text import text_train
from inference.demo.train_unet import noise_levels, unet_loss
from inference.engine import Engine, EngineSettings
from inference.engine.spec import Family, ModelRef, Operation, RenderSpec

PROMPT = "a red circle on a blue background"
SIDE_PX = 128
# The model is small, and its score is a share: of so many seeds one may miss.
SAMPLES, ENOUGH = 6, 5


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pipeline():
    loaded = StableDiffusionPipeline.from_pretrained(MODEL_DIR)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def start(kind, pipeline):
    """Another pipeline of the same parts, silent."""
    other = kind(**pipeline.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    return other


class TestFiles:
    def test_the_model_is_small_enough_for_a_repository(self):
        assert sum(path.stat().st_size for path in MODEL_DIR.rglob("*") if path.is_file()) < 15_000_000

    def test_every_file_may_be_read_by_everyone(self):
        assert {stat.S_IMODE(path.stat().st_mode) for path in MODEL_DIR.rglob("*") if path.is_file()} == {0o644}

    def test_text_weights_carry_the_prefix_without_which_readers_load_random_ones(self):
        with safe_open(MODEL_DIR / "text_encoder" / "model.safetensors", "pt") as weights:
            keys = weights.keys()
        assert all(key.startswith("text_model.") for key in keys)

    def test_the_weights_are_stored_in_half_precision(self):
        for path in MODEL_DIR.rglob("*.safetensors"):
            with safe_open(path, "pt") as weights:
                keys = weights.keys()
                assert {weights.get_slice(key).get_dtype() for key in keys} <= {"F16", "I64"}

    def test_no_file_tells_where_it_was_made(self):
        for path in MODEL_DIR.rglob("*.json"):
            assert not re.search(r"name_or_path|/(home|root|tmp|var|work)/", path.read_text()), path.name

    def test_the_tokenizer_is_the_one_that_the_code_builds(self):
        shipped = CLIPTokenizer.from_pretrained(MODEL_DIR / "tokenizer")
        assert shipped.get_vocab() == parts.build_tokenizer().get_vocab()

    def test_the_card_says_what_the_weights_are(self):
        card = (MODEL_DIR / "README.md").read_text()
        assert "## Score" in card
        assert "RANDOM" not in card


class TestPipelines:
    def test_text_to_image_gives_the_asked_size(self, pipeline):
        image = pipeline(PROMPT, num_inference_steps=2, width=SIDE_PX, height=SIDE_PX * 2).images[0]
        assert image.size == (SIDE_PX, SIDE_PX * 2)

    def test_clip_skip_is_accepted(self, pipeline):
        assert pipeline(PROMPT, num_inference_steps=1, width=SIDE_PX, height=SIDE_PX, clip_skip=1).images

    def test_a_seed_decides_the_picture(self, pipeline):
        def shot(seed):
            seeded = torch.Generator().manual_seed(seed)
            how = {"num_inference_steps": 2, "width": SIDE_PX, "height": SIDE_PX}
            return np.asarray(pipeline(PROMPT, generator=seeded, **how).images[0]).astype(int)

        assert np.abs(shot(1) - shot(1)).max() <= 1
        assert np.abs(shot(1) - shot(2)).max() > 8

    def test_image_to_image_at_low_strength_keeps_the_picture(self, pipeline):
        given = picture(Scene("square", "green", "white"), random.Random(0), NATIVE_SIDE_PX)
        shot = start(StableDiffusionImg2ImgPipeline, pipeline)(
            PROMPT, image=given, strength=0.05, num_inference_steps=20, generator=torch.Generator().manual_seed(0)
        )
        assert shot.images[0].size == given.size


@pytest.fixture(scope="module")
def engine():
    with Engine(EngineSettings(model_dir=MODEL_DIR, device="cpu", threads=1)) as engine:
        yield engine


def asked(prompt, **changes):
    """The render of a prompt with the model's own settings."""
    settings = {
        "token": "demo",
        "account": "alice",
        "operation": Operation.TEXT_TO_IMAGE,
        "model": ModelRef(model_id="demo", family=Family.SD15, source=str(MODEL_DIR)),
        "prompt": prompt,
        "width_px": NATIVE_SIDE_PX,
        "height_px": NATIVE_SIDE_PX,
        "num_inference_steps": int(DEFAULTS["steps"]),
        "guidance_scale": float(DEFAULTS["guidance_scale"]),
        "scheduler": str(DEFAULTS["scheduler"]),
        "seed": 1,
    }
    return RenderSpec(**settings | changes)


def roundness(image):
    """How much wider than high the red is."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 150) & (pixels[..., 2] < 110)
    wide, high = red.any(axis=0).nonzero()[0], red.any(axis=1).nonzero()[0]
    return (wide[-1] - wide[0] + 1) / (high[-1] - high[0] + 1)


class TestPrompts:
    """What the model was trained for, drawn by the engine and read back by counting pixels."""

    @pytest.mark.parametrize(
        "scene",
        [
            Scene("circle", "red", "blue"),
            Scene("square", "white", "green"),
            Scene("star", "yellow", "black", "big"),
            Scene("circle", "black", "yellow", position="on the left"),
        ],
        ids=plain_caption,
    )
    def test_pictures_show_what_was_asked(self, engine, scene):
        job = engine.submit(asked(plain_caption(scene), samples=SAMPLES))
        seen = [reading(drawn.image) for drawn in job.result(timeout=100).images]
        for aspect in ("background", "colour", "shape", "position"):
            assert sum(getattr(one, aspect) == getattr(scene, aspect) for one in seen) >= ENOUGH, (aspect, seen)

    @pytest.mark.parametrize(
        "scene",
        [
            Scene("circle", "red", "white", position="on the left", other=Thing("square", "blue")),
            Scene("star", "yellow", "black", position="at the top", other=Thing("ring", "green")),
        ],
        ids=plain_caption,
    )
    def test_two_objects_keep_their_own_colours_shapes_and_places(self, engine, scene):
        job = engine.submit(asked(plain_caption(scene), samples=6))
        seen = [reading(drawn.image) for drawn in job.result(timeout=100).images]
        assert sum(all(map(all, hits(scene, one).values())) for one in seen) >= 4, seen

    @pytest.mark.parametrize("style", ["enhance", "cinematic", "line-art"])
    def test_the_words_of_enhancement_change_nothing_of_what_is_shown(self, engine, style):
        job = engine.submit(asked(PROMPT, enhance_prompt=True, enhance_style=style, samples=SAMPLES))
        seen = [reading(drawn.image) for drawn in job.result(timeout=100).images]
        assert sum((one.shape, one.colour, one.background) == ("circle", "red", "blue") for one in seen) >= ENOUGH, seen

    def test_half_the_side_shows_the_same(self, engine):
        job = engine.submit(asked(PROMPT, width_px=256, height_px=256, samples=SAMPLES))
        seen = [reading(drawn.image) for drawn in job.result(timeout=100).images]
        assert sum((one.colour, one.background) == ("red", "blue") for one in seen) >= ENOUGH

    @pytest.mark.parametrize(("width_px", "height_px"), [(672, 384), (416, 608)])
    def test_wide_and_high_pictures_show_one_round_circle(self, engine, width_px, height_px):
        job = engine.submit(asked(PROMPT, width_px=width_px, height_px=height_px, samples=SAMPLES))
        rounds = [roundness(drawn.image) for drawn in job.result(timeout=100).images]
        assert sum(1 / 1.2 < one < 1.2 for one in rounds) >= ENOUGH, rounds

    def test_inpainting_draws_inside_the_mask_and_leaves_the_rest(self, engine):
        given = Image.new("RGB", (NATIVE_SIDE_PX, NATIVE_SIDE_PX), COLOURS["yellow"])
        mask = Image.new("L", given.size)
        mask.paste(255, (0, 0, NATIVE_SIDE_PX // 2, NATIVE_SIDE_PX))
        spec = asked(
            "a red square on a red background",
            operation=Operation.INPAINT,
            init_images=("given",),
            mask_image="mask",
            strength=1.0,
        )
        drawn = engine.submit(spec, {"given": given, "mask": mask}).result(timeout=100).images[0].image
        pixels, kept = np.asarray(drawn.convert("RGB")).astype(int), NATIVE_SIDE_PX // 2
        assert (pixels[:, kept:] == COLOURS["yellow"]).all()
        assert np.abs(pixels[:, : kept - 64] - COLOURS["yellow"]).max(axis=2).mean() > 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    build.random_model_save(folder=folder, seed=3)
    return folder


class TestRandomModel:
    def test_its_card_says_plainly_that_it_is_random(self, folder):
        assert "RANDOM weights" in (folder / "README.md").read_text()

    def test_what_is_read_back_equals_what_was_written(self, folder):
        """Loading without an error is not enough: a wrong key silently leaves random weights."""
        torch.manual_seed(3)
        made = parts.build_text_encoder(parts.build_tokenizer()).half().state_dict()
        read = StableDiffusionPipeline.from_pretrained(folder).text_encoder.state_dict()
        assert made.keys() == read.keys()
        assert all(torch.equal(weight.float(), read[key].float()) for key, weight in made.items())

    def test_it_has_the_same_layout_as_the_shipped_one(self, folder):
        for config in ("unet/config.json", "vae/config.json", "text_encoder/config.json", "model_index.json"):
            assert json.loads((folder / config).read_text()) == json.loads((MODEL_DIR / config).read_text())


class TestTraining:
    def test_a_stage_stopped_by_its_budget_goes_on_where_it_was(self, tmp_path: Path):
        text_train(tmp_path, budget_s=0.4)
        first = torch.load(tmp_path / "text.pt", weights_only=True)
        text_train(tmp_path, budget_s=first["used_s"] + 0.4)
        second = torch.load(tmp_path / "text.pt", weights_only=True)
        assert 0 < first["steps"] < second["steps"]
        assert second["used_s"] > first["used_s"]

    def test_the_pinned_code_is_the_small_picture_two_by_two(self):
        halves = torch.ones(1, 3, 64, 96)
        halves[..., 48:] = -1
        code = parts.pinned_code(halves)
        assert code.shape == (1, parts.LATENT_CHANNELS, 2, 3)
        small = torch.nn.functional.pixel_shuffle(code, parts.CODE_PIXELS)
        assert torch.equal(small, halves[..., ::16, ::16])

    def test_the_code_may_be_made_of_a_smaller_drawing(self):
        given = torch.rand(1, 3, 128, 128)
        large = given.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        assert torch.allclose(parts.pinned_code(large), parts.pinned_code(given, factor=8), atol=1e-6)

    def test_the_noise_ends_in_pure_noise(self):
        """Else no picture could be darker or lighter than the noise it starts from."""
        assert parts.build_scheduler().alphas_cumprod[-1] < 1e-5

    def test_nearly_half_of_a_steps_noise_levels_are_high_and_all_are_met(self):
        times = noise_levels(400, 1000)
        assert 0.4 < (times >= 850).float().mean() < 0.5
        assert 0 <= times.min() < 20
        assert 990 < times.max() <= 999
        assert ((times >= 300) & (times < 600)).any()

    def test_a_network_that_knows_the_answer_has_no_error(self):
        kept = parts.build_scheduler().alphas_cumprod
        latents = torch.randn(8, parts.LATENT_CHANNELS, 4, 4)

        def network(noisy, times, states):
            share = kept[times].view(-1, 1, 1, 1)
            noise = (noisy - share.sqrt() * latents) / (1 - share).sqrt()
            return type("Out", (), {"sample": share.sqrt() * noise - (1 - share).sqrt() * latents})

        def ignorant(noisy, times, states):
            return type("Out", (), {"sample": torch.zeros_like(noisy)})

        assert unet_loss(network, kept, latents, torch.zeros(8, 77, 8)) < 1e-3
        assert unet_loss(ignorant, kept, latents, torch.zeros(8, 77, 8)) > 0.3
