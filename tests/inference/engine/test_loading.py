"""Files become the same models that wrote them, from folders, from single files and from the hub's local cache.

What is damaged or foreign fails with a sentence that names it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.engine import singlefile, sources
from inference.engine.errors import RenderFailed
from inference.engine.families import Model
from inference.engine.loading import Loader
from inference.engine.settings import CONFIGS_DIR, EngineSettings
from inference.engine.spec import Family, ModelRef
from tests.inference.engine.bench import model
from tests.support import tiny_checkpoints, tiny_models

MAKERS: dict[str, tuple[Family, Callable[[], Any]]] = {
    "sd15": (Family.SD15, tiny_models.sd15),
    "sd15-inpainting": (Family.SD15, lambda: tiny_models.sd15(in_channels=9)),
    "sd2": (Family.SD15, tiny_models.sd2),
    "sdxl": (Family.SDXL, tiny_models.sdxl),
    "sdxl-inpainting": (Family.SDXL, lambda: tiny_models.sdxl(in_channels=9)),
    "sdxl-refiner": (Family.SDXL, tiny_models.sdxl_refiner),
    "sd3-medium": (Family.SD3, tiny_models.sd3),
    "sd35-medium": (Family.SD3, lambda: tiny_models.sd3(dual_attention_layers=(0,), qk_norm="rms_norm")),
    "flux-dev": (Family.FLUX, tiny_models.flux),
    "flux-schnell": (Family.FLUX, lambda: tiny_models.flux(guidance=False)),
}


def loader(model_dir: Path, **settings: Any) -> Loader:
    chosen = EngineSettings(model_dir=model_dir, **settings)
    return Loader(chosen, torch.device("cpu"), torch.float32)


def networks(pipe: Any) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def assert_equal(loaded: Model, pipe: Any) -> None:
    """Every tensor of every network, not merely that something was loaded."""
    ours, theirs = networks(loaded.pipe), networks(pipe)
    assert set(ours) == set(theirs)
    for name, network in theirs.items():
        mine = ours[name].state_dict()
        assert set(mine) == set(network.state_dict())
        for key, tensor in network.state_dict().items():
            assert torch.equal(mine[key], tensor), f"{name}.{key}"
    assert type(loaded.pipe.scheduler) is type(pipe.scheduler)
    assert told(loaded.pipe.scheduler) == told(pipe.scheduler)


def told(scheduler: Any) -> dict[str, Any]:
    return {key: value for key, value in scheduler.config.items() if not key.startswith("_")}


@pytest.mark.parametrize("layout", MAKERS)
class TestReload:
    def test_from_a_folder(self, layout: str, tmp_path: Path) -> None:
        family, build = MAKERS[layout]
        tiny_models.save(build(), tmp_path / layout)
        assert_equal(loader(tmp_path).model(model(layout, family)), build())

    def test_from_one_file(self, layout: str, tmp_path: Path) -> None:
        family, build = MAKERS[layout]
        pipe = build()
        save_file(tiny_checkpoints.single_file_state(pipe), tmp_path / "file.safetensors")
        tiny_checkpoints.write_configuration(pipe, tmp_path / "configs" / f"{layout.removesuffix('-inpainting')}.json")
        write_tokenizers(pipe, tmp_path)
        loaded = loader(tmp_path, configs_dir=tmp_path / "configs").model(model("file.safetensors", family))
        assert_equal(loaded, pipe)


def write_tokenizers(pipe: Any, model_dir: Path) -> None:
    t5 = getattr(pipe, "tokenizer_3", None) or getattr(pipe, "tokenizer_2", None)
    for kind, tokenizer in (("clip", pipe.tokenizer), ("openclip", getattr(pipe, "tokenizer_2", None)), ("t5", t5)):
        if tokenizer is not None:
            tiny_models.save(tokenizer, model_dir / "tokenizers" / kind)


def test_each_layout_has_a_configuration_of_the_real_size() -> None:
    for layout in singlefile.FAMILY_OF_LAYOUT:
        components = singlefile.configuration(CONFIGS_DIR, layout)["components"]
        denoiser = components.get("unet") or components["transformer"]
        assert denoiser["config"]["in_channels"] in (4, 16, 64)
        assert "scheduler" in components


def test_a_variant_and_shards_are_found(tmp_path: Path) -> None:
    pipe = tiny_models.sd15()
    pipe.save_pretrained(str(tmp_path / "half"), variant="fp16", max_shard_size="1MB")
    assert len(list((tmp_path / "half" / "unet").glob("*.safetensors"))) > 1
    for variant in ("fp16",):
        assert_equal(loader(tmp_path).model(model("half", variant=variant)), pipe)


def test_a_hub_id_is_served_from_the_local_cache(tmp_path: Path) -> None:
    pipe = tiny_models.sd15()
    repository = tmp_path / "cache" / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    tiny_models.save(pipe, repository / "snapshots" / ("0" * 40))
    here = loader(tmp_path, hub_cache=tmp_path / "cache")
    assert_equal(here.model(model("someone/tiny")), pipe)
    with pytest.raises(RenderFailed, match="downloads are off") as failure:
        here.model(model("someone/else"))
    assert failure.value.code == "model_missing"
    assert not failure.value.retryable


def test_text_encoders_without_their_prefix_are_read_too(tmp_path: Path) -> None:
    """Newer transformers write CLIP's text model without `text_model.`, which older ones load as random weights."""
    pipe = tiny_models.sd15()
    tiny_models.save(pipe, tmp_path / "new")
    file = tmp_path / "new" / "text_encoder" / "model.safetensors"
    save_file({key.removeprefix("text_model."): tensor for key, tensor in load_file(file).items()}, file)
    assert_equal(loader(tmp_path).model(model("new")), pipe)


def test_equal_components_are_loaded_once_and_different_ones_apart(tmp_path: Path) -> None:
    first, second = tiny_models.sd15(), tiny_models.sd15()
    with torch.no_grad():
        second.unet.conv_in.weight.add_(0.01)
    tiny_models.save(first, tmp_path / "first")
    tiny_models.save(second, tmp_path / "second")
    here = loader(tmp_path)
    a, b = here.model(model("first")), here.model(model("second"))
    assert a.pipe.text_encoder is b.pipe.text_encoder
    assert a.vae is b.vae
    assert a.denoiser is not b.denoiser
    assert_equal(b, second)


def test_the_estimate_is_what_the_model_takes(tmp_path: Path) -> None:
    pipe = tiny_models.sdxl()
    tiny_models.save(pipe, tmp_path / "sdxl")
    parameters = sum(p.numel() for network in networks(pipe).values() for p in network.parameters())
    assert sources.estimate_bytes(tmp_path / "sdxl", 2) == 2 * parameters


def test_the_prediction_type_of_a_file_can_be_told(tmp_path: Path) -> None:
    tiny_models.save(tiny_models.sd15(), tmp_path / "v")
    loaded = loader(tmp_path).model(model("v", prediction_type="v_prediction"))
    assert loaded.pipe.scheduler.config.prediction_type == "v_prediction"


class TestDamage:
    """Each gives its own sentence, and never another exception than RenderFailed."""

    def test_a_missing_model(self, tmp_path: Path) -> None:
        self.fails(tmp_path, model("nothing"), "model_missing", "nothing")

    def test_a_truncated_weight_file(self, tmp_path: Path) -> None:
        tiny_models.save(tiny_models.sd15(), tmp_path / "cut")
        file = tmp_path / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
        file.write_bytes(file.read_bytes()[:5000])
        self.fails(tmp_path, model("cut"), "model_unreadable", "diffusion_pytorch_model.safetensors")

    def test_a_truncated_single_file(self, tmp_path: Path) -> None:
        (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
        self.fails(tmp_path, model("cut.safetensors"), "model_unreadable", "cut.safetensors")

    def test_missing_tensors_are_not_left_random(self, tmp_path: Path) -> None:
        tiny_models.save(tiny_models.sd15(), tmp_path / "holes")
        file = tmp_path / "holes" / "unet" / "diffusion_pytorch_model.safetensors"
        state = load_file(file)
        state.pop("conv_in.weight")
        save_file(state, file)
        self.fails(tmp_path, model("holes"), "model_unreadable", "conv_in.weight")

    def test_tensors_of_another_shape(self, tmp_path: Path) -> None:
        tiny_models.save(tiny_models.sd15(), tmp_path / "odd")
        file = tmp_path / "odd" / "unet" / "diffusion_pytorch_model.safetensors"
        save_file(load_file(file) | {"conv_in.bias": torch.zeros(5)}, file)
        self.fails(tmp_path, model("odd"), "model_unreadable", "unet")

    def test_a_model_of_another_family(self, tmp_path: Path) -> None:
        tiny_models.save(tiny_models.sdxl(), tmp_path / "xl")
        self.fails(tmp_path, model("xl"), "model_unreadable", "sd15")

    def test_pickled_weights_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "old.ckpt").write_bytes(b"\x80\x02")
        self.fails(tmp_path, model("old.ckpt"), "model_unreadable", "pickled")

    def test_a_component_that_the_engine_does_not_know(self, tmp_path: Path) -> None:
        tiny_models.save(tiny_models.sd15(), tmp_path / "strange")
        index = tmp_path / "strange" / "model_index.json"
        index.write_text(json.dumps(json.loads(index.read_text()) | {"unet": ["my_code", "MyUNet"]}))
        self.fails(tmp_path, model("strange"), "unsupported_model", "MyUNet")

    def test_a_checkpoint_without_a_tokenizer(self, tmp_path: Path) -> None:
        pipe = tiny_models.sd15()
        save_file(tiny_checkpoints.single_file_state(pipe), tmp_path / "file.safetensors")
        tiny_checkpoints.write_configuration(pipe, tmp_path / "configs" / "sd15.json")
        self.fails(tmp_path, model("file.safetensors"), "model_missing", "tokenizers/clip")

    def fails(self, model_dir: Path, ref: ModelRef, code: str, words: str) -> None:
        with pytest.raises(RenderFailed) as failure:
            loader(model_dir, configs_dir=model_dir / "configs").model(ref)
        assert failure.value.code == code
        assert words in failure.value.message
        assert str(model_dir) not in failure.value.message
