"""LoRAs, embeddings, ControlNets, other VAEs and IP-Adapters: per job, equal to plain diffusers, without a trace after.

Jobs with different adapters share forwards wherever the network allows it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from inference.engine.errors import RenderFailed
from inference.engine.families.lora import LoraFile
from inference.engine.spec import AdapterRef, ControlRef, Family, IPAdapterRef, Operation
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
from tests.support import tiny_checkpoints, tiny_models

SAME = 1e-5
SD15 = model("sd15")
SDXL = model("sdxl", Family.SDXL)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    pipe, xl, flux = tiny_models.sd15(), tiny_models.sdxl(), tiny_models.flux()
    for name, made in (("sd15", pipe), ("sdxl", xl), ("flux", flux)):
        tiny_models.save(made, folder / name)
    tiny_models.save(tiny_models.controlnet(pipe.unet), folder / "canny")
    tiny_models.save(tiny_models.controlnet(pipe.unet, seed=1), folder / "depth")
    tiny_models.save(tiny_models.controlnet(xl.unet), folder / "xl-canny")
    tiny_models.save(tiny_models.sd15(seed=9).vae, folder / "other-vae")
    for seed in (1, 2):
        save_file(tiny_checkpoints.kohya_lora_state(pipe, seed=seed, alpha=2.0), folder / f"style{seed}.safetensors")
    save_file(tiny_checkpoints.kohya_lora_state(xl, seed=3), folder / "xl-style.safetensors")
    save_file(tiny_checkpoints.diffusers_lora_state(flux, seed=4), folder / "flux-style.safetensors")
    save_file({"<cat>": torch.randn(2, 32, generator=seeded(5))}, folder / "word.safetensors")
    save_file(tiny_checkpoints.ip_adapter_state(pipe.unet), folder / "ip.safetensors")
    tiny_models.save(tiny_models.clip_vision(), folder / "image_encoder")
    return folder


@pytest.fixture(scope="module")
def bench(shelf: Path) -> Iterator[Bench]:
    bench = Bench(shelf)
    yield bench
    bench.close()


@pytest.fixture
def plain(shelf: Path) -> Any:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(str(shelf / "sd15"), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run(pipe: Any, seed: int = 7, **more: Any) -> torch.Tensor:
    told: dict[str, Any] = {"prompt": PROMPT, "num_inference_steps": 4, "height": 64, "width": 64}
    return pipe(output_type="pt", generator=seeded(seed), **(told | more)).images


def style(number: int, strength: float = 1.0) -> AdapterRef:
    return AdapterRef(adapter_id=f"style{number}", source=f"style{number}.safetensors", strength=strength)


class TestLora:
    def test_different_loras_several_and_none_in_one_forward(self, bench: Bench, plain: Any, shelf: Path) -> None:
        wanted = [(), (style(1),), (style(2, 0.4),), (style(1, 0.7), style(2, 0.3)), (style(1, 0.5),)]
        bench.draw(spec(SD15, loras=(style(1), style(2))))  # Loads everything, so that the jobs start together.
        jobs = [bench.submit(spec(SD15, loras=refs, seed=i)) for i, refs in enumerate(wanted)]
        bench.finish(*jobs)
        assert len(bench.recorded.forwards[-1]) == len(wanted)
        for number in (1, 2):
            plain.load_lora_weights(str(shelf / f"style{number}.safetensors"), adapter_name=f"style{number}")
        for job, refs in zip(jobs, wanted, strict=True):
            if refs:
                plain.enable_lora()
                plain.set_adapters([ref.adapter_id for ref in refs], [ref.strength for ref in refs])
            else:
                plain.disable_lora()
            assert apart(bench.recorded.pixels[job.spec.token, 0], run(plain, job.spec.seed)) <= SAME

    def test_nothing_leaks_into_the_next_job(self, bench: Bench) -> None:
        before = bench.draw(spec(SD15))
        styled = bench.draw(spec(SD15, loras=(style(1),)))
        assert apart(before, styled) > 0.001
        assert torch.equal(before, bench.draw(spec(SD15)))

    @pytest.mark.parametrize(
        ("name", "ref", "cls"),
        [("xl-style", SDXL, "StableDiffusionXLPipeline"), ("flux-style", model("flux", Family.FLUX), "FluxPipeline")],
    )
    def test_other_families(self, bench: Bench, shelf: Path, name: str, ref: Any, cls: str) -> None:
        lora = AdapterRef(adapter_id=name, source=f"{name}.safetensors", strength=0.8)
        pixels = bench.draw(spec(ref, loras=(lora,), guidance_scale=3.0))
        pipe = getattr(diffusers, cls).from_pretrained(str(shelf / ref.source))
        pipe.set_progress_bar_config(disable=True)
        without = run(pipe, guidance_scale=3.0)
        pipe.load_lora_weights(str(shelf / f"{name}.safetensors"), adapter_name="x")
        pipe.set_adapters(["x"], [0.8])
        assert apart(pixels, run(pipe, guidance_scale=3.0)) <= SAME
        assert apart(pixels, without) > 0.001

    def test_convolutions_are_adapted_too(self, bench: Bench, plain: Any, shelf: Path) -> None:
        generator = seeded(8)
        key = "lora_unet_down_blocks_0_resnets_0_conv1"
        state = {
            f"{key}.lora_down.weight": torch.randn(2, 32, 3, 3, generator=generator) * 0.1,
            f"{key}.lora_up.weight": torch.randn(32, 2, 1, 1, generator=generator),
            f"{key}.alpha": torch.tensor(1.0),
        }
        save_file(state, shelf / "conv.safetensors")
        pixels = bench.draw(spec(SD15, loras=(AdapterRef(adapter_id="conv", source="conv.safetensors"),)))
        without = run(plain)
        plain.load_lora_weights(str(shelf / "conv.safetensors"))
        assert apart(pixels, run(plain)) <= SAME
        assert apart(pixels, without) > 0.001

    def test_rank_and_alpha_in_the_header_count(self, bench: Bench, plain: Any, shelf: Path) -> None:
        from peft import LoraConfig
        from peft.utils import get_peft_model_state_dict

        torch.manual_seed(3)
        config = LoraConfig(r=4, lora_alpha=12, init_lora_weights=False, target_modules=["to_q", "to_v"])
        plain.unet.add_adapter(config)
        plain.save_lora_weights(
            str(shelf / "trained"),
            unet_lora_layers=get_peft_model_state_dict(plain.unet),
            unet_lora_adapter_metadata=plain.unet.peft_config["default"].to_dict(),
        )
        pixels = bench.draw(spec(SD15, loras=(AdapterRef(adapter_id="trained", source="trained"),)))
        assert apart(pixels, run(plain)) <= SAME

    def test_a_lora_of_another_family_is_refused(self, bench: Bench) -> None:
        refuses(bench, spec(SD15, loras=(AdapterRef(adapter_id="xl", source="xl-style.safetensors"),)), "xl-style")

    def test_flux_leaves_out_what_is_made_for_others_and_says_so(self, bench: Bench) -> None:
        ref = model("flux", Family.FLUX)
        vae = AdapterRef(adapter_id="vae", source="other-vae")
        job = bench.submit(spec(ref, loras=(style(1),), vae=vae, enhance_prompt=True))
        (output,) = bench.finish(job)
        assert output.used["vae"] is None
        assert output.used["enhance_prompt"] is False
        assert any("style1" in note for note in output.notes)
        assert torch.equal(bench.recorded.pixels[job.spec.token, 0], bench.draw(spec(ref)))

    def test_adapters_beyond_the_budget_leave_no_memory_behind(self, shelf: Path) -> None:
        state = tiny_checkpoints.kohya_lora_state(tiny_models.sd15(), rank=64)
        for number in range(5):
            save_file(state, shelf / f"large{number}.safetensors")
        bench = Bench(shelf, memory_budget_bytes=10_000_000)
        for number in range(5):
            bench.draw(spec(SD15, loras=(AdapterRef(adapter_id="l", source=f"large{number}.safetensors"),)))
            assert bench.pool.used_bytes() <= 10_000_000
        gc.collect()
        resident = {id(r.part.value) for r in bench.pool.residents.values() if r.ref.kind == "lora"}
        alive = {id(o) for o in gc.get_objects() if type(o) is LoraFile and o.label.startswith("large")}
        assert 0 < len(alive) < 5
        assert alive == resident
        bench.close()

    def test_lycoris_is_named_as_what_it_is(self, bench: Bench, shelf: Path) -> None:
        save_file({"lora_unet_x.hada_w1_a": torch.zeros(2, 2)}, shelf / "loha.safetensors")
        refuses(bench, spec(SD15, loras=(AdapterRef(adapter_id="loha", source="loha.safetensors"),)), "LoHa")


def refuses(bench: Bench, job: Any, words: str, inputs: Any = None) -> None:
    with pytest.raises(RenderFailed) as failure:
        bench.finish(bench.submit(job, inputs))
    assert failure.value.code == "invalid_adapter"
    assert words in failure.value.message


class TestEmbedding:
    def test_the_word_is_known_to_its_job_alone(self, bench: Bench, plain: Any, shelf: Path) -> None:
        word = AdapterRef(adapter_id="cat", source="word.safetensors")
        prompt = "a <cat> photo"
        stranger = bench.draw(spec(SD15, prompt=prompt))
        taught = bench.draw(spec(SD15, prompt=prompt, embeddings=(word,)))
        assert apart(taught, stranger) > 0.001
        assert torch.equal(stranger, bench.draw(spec(SD15, prompt=prompt)))
        assert apart(stranger, run(plain, prompt=prompt)) <= SAME
        plain.load_textual_inversion(str(shelf / "word.safetensors"))
        assert apart(taught, run(plain, prompt=prompt)) <= SAME

    def test_an_embedding_of_another_width_is_refused(self, bench: Bench, shelf: Path) -> None:
        save_file({"emb_params": torch.zeros(1, 48)}, shelf / "wide.safetensors")
        word = AdapterRef(adapter_id="wide", source="wide.safetensors")
        refuses(bench, spec(SD15, prompt="a wide cat", embeddings=(word,)), "width 32")

    def test_both_encoders_of_sdxl_learn_the_word(self, bench: Bench, shelf: Path) -> None:
        vectors = {"clip_l": torch.randn(1, 32, generator=seeded(1)), "clip_g": torch.randn(1, 64, generator=seeded(2))}
        save_file(vectors, shelf / "xlword.safetensors")
        pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(str(shelf / "sdxl"))
        pipe.set_progress_bar_config(disable=True)
        for kind, tokenizer, encoder in (
            ("clip_l", pipe.tokenizer, pipe.text_encoder),
            ("clip_g", pipe.tokenizer_2, pipe.text_encoder_2),
        ):
            pipe.load_textual_inversion(vectors[kind], token="xlword", tokenizer=tokenizer, text_encoder=encoder)
        prompt = "a xlword photo"
        word = AdapterRef(adapter_id="xlword", source="xlword.safetensors")
        pixels = bench.draw(spec(SDXL, prompt=prompt, embeddings=(word,)))
        assert apart(pixels, run(pipe, prompt=prompt, guidance_scale=7.5)) <= SAME


def control(source: str, **more: Any) -> ControlRef:
    return ControlRef(kind="tile", source=source, **({"image": "hint", "scale": 0.8} | more))


class TestControlNet:
    """The kind "tile" takes the picture itself as its hint, so the plain pipelines see the same."""

    HINT = {"hint": noise_picture(seed=4), "in": noise_picture()}

    def plain(self, pipe: Any, cls: str, *nets: Any) -> Any:
        parts = {name: part for name, part in pipe.components.items() if name != "image_encoder"}
        net = nets[0] if len(nets) == 1 else list(nets)
        made = getattr(diffusers, cls)(**parts, controlnet=net, requires_safety_checker=False)
        made.set_progress_bar_config(disable=True)
        return made

    def net(self, shelf: Path, name: str) -> Any:
        return diffusers.ControlNetModel.from_pretrained(str(shelf / name))

    def test_strengths_and_guess_mode_share_a_forward(self, bench: Bench, plain: Any, shelf: Path) -> None:
        told = [
            {"scale": 0.8},
            {"scale": 0.3},
            {"scale": 1.0, "guess": True},
            {"scale": 0.5, "guess": True, "cfg": 1.0},
        ]
        jobs = [
            bench.submit(
                spec(
                    SD15,
                    controls=(control("canny", scale=one["scale"]),),
                    guess_mode=one.get("guess", False),
                    guidance_scale=one.get("cfg", 7.5),
                    seed=i,
                ),
                self.HINT,
            )
            for i, one in enumerate(told)
        ]
        bench.finish(*jobs)
        assert len(bench.recorded.forwards[-1]) == len(told)
        pipe = self.plain(plain, "StableDiffusionControlNetPipeline", self.net(shelf, "canny"))
        for i, (job, one) in enumerate(zip(jobs, told, strict=True)):
            expected = run(
                pipe,
                i,
                image=self.HINT["hint"],
                controlnet_conditioning_scale=one["scale"],
                guess_mode=one.get("guess", False),
                guidance_scale=one.get("cfg", 7.5),
            )
            assert apart(bench.recorded.pixels[job.spec.token, 0], expected) <= SAME

    def test_two_networks_at_once(self, bench: Bench, plain: Any, shelf: Path) -> None:
        pixels = bench.draw(spec(SD15, controls=(control("canny"), control("depth", scale=0.4))), self.HINT)
        nets = [self.net(shelf, "canny"), self.net(shelf, "depth")]
        pipe = self.plain(plain, "StableDiffusionControlNetPipeline", *nets)
        hints = [self.HINT["hint"]] * 2
        assert apart(pixels, run(pipe, image=hints, controlnet_conditioning_scale=[0.8, 0.4])) <= SAME

    def test_with_a_picture_and_with_a_mask(self, bench: Bench, plain: Any, shelf: Path) -> None:
        net = self.net(shelf, "canny")
        told = {"strength": 0.6, "num_inference_steps": 6, "image": self.HINT["in"], "control_image": self.HINT["hint"]}
        told["controlnet_conditioning_scale"] = 0.8
        more = {"init_images": ("in",), "strength": 0.6, "num_inference_steps": 6, "controls": (control("canny"),)}
        pixels = bench.draw(spec(SD15, operation=Operation.IMAGE_TO_IMAGE, **more), self.HINT)
        expected = run(self.plain(plain, "StableDiffusionControlNetImg2ImgPipeline", net), **told)
        assert apart(pixels, expected) <= SAME
        pictures = {**self.HINT, "mask": half_mask()}
        pixels = bench.draw(spec(SD15, operation=Operation.INPAINT, mask_image="mask", **more), pictures)
        inpaint = self.plain(plain, "StableDiffusionControlNetInpaintPipeline", net)
        assert apart(pixels, run(inpaint, mask_image=half_mask(), **told)) <= SAME

    def test_sdxl(self, bench: Bench, shelf: Path) -> None:
        pixels = bench.draw(spec(SDXL, controls=(control("xl-canny"),), negative_prompt=NEGATIVE), self.HINT)
        xl = diffusers.StableDiffusionXLPipeline.from_pretrained(str(shelf / "sdxl"))
        parts = {name: part for name, part in xl.components.items() if part is not None}
        pipe = diffusers.StableDiffusionXLControlNetPipeline(**parts, controlnet=self.net(shelf, "xl-canny"))
        pipe.set_progress_bar_config(disable=True)
        told = {"negative_prompt": NEGATIVE, "guidance_scale": 7.5, "controlnet_conditioning_scale": 0.8}
        assert apart(pixels, run(pipe, image=self.HINT["hint"], **told)) <= SAME

    def test_the_hint_is_derived_from_the_picture(self, bench: Bench) -> None:
        derived = ControlRef(kind="canny", source="canny")
        ready = ControlRef(kind="canny", source="canny", auto_hint=False)
        fields = {"init_images": ("in",)}
        edges = bench.draw(spec(SD15, controls=(derived,), **fields), self.HINT)
        raw = bench.draw(spec(SD15, controls=(ready,), **fields), self.HINT)
        assert apart(edges, raw) > 0.001

    def test_a_network_of_another_family_is_refused(self, bench: Bench) -> None:
        refuses(bench, spec(SD15, controls=(control("xl-canny"),)), "do not fit", self.HINT)


def test_another_vae_decodes(bench: Bench, plain: Any, shelf: Path) -> None:
    pixels = bench.draw(spec(SD15, vae=AdapterRef(adapter_id="other", source="other-vae")))
    assert apart(pixels, run(plain)) > 0.001
    plain.vae = diffusers.AutoencoderKL.from_pretrained(str(shelf / "other-vae"))
    assert apart(pixels, run(plain)) <= SAME


class TestIPAdapter:
    REF = IPAdapterRef(adapter_id="ip", source="ip.safetensors", scale=0.6, image="face")
    FACE = {"face": noise_picture(seed=9)}

    def test_the_picture_joins_the_prompt(self, bench: Bench, plain: Any, shelf: Path) -> None:
        from transformers import CLIPVisionModelWithProjection
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        with_picture = bench.submit(spec(SD15, ip_adapter=self.REF), self.FACE)
        without = bench.submit(spec(SD15, seed=8))
        bench.finish(with_picture, without)
        assert apart(bench.recorded.pixels[without.spec.token, 0], run(plain, 8)) <= SAME
        encoder = CLIPVisionModelWithProjection.from_pretrained(str(shelf / "image_encoder"))
        processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        plain.register_modules(image_encoder=encoder, feature_extractor=processor)
        plain.load_ip_adapter(str(shelf), subfolder="", weight_name="ip.safetensors", image_encoder_folder=None)
        plain.set_ip_adapter_scale(0.6)
        expected = run(plain, ip_adapter_image=self.FACE["face"])
        assert apart(bench.recorded.pixels[with_picture.spec.token, 0], expected) <= SAME

    def test_nothing_leaks_into_the_next_job(self, bench: Bench) -> None:
        before = bench.draw(spec(SD15))
        assert apart(before, bench.draw(spec(SD15, ip_adapter=self.REF), self.FACE)) > 0.001
        assert torch.equal(before, bench.draw(spec(SD15)))
