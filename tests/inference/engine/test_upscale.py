"""Enlarging pictures: the layouts that are read, the sizes that come out, and tiles that nobody can see."""

import numpy as np
import pytest
import torch
from PIL import Image

from inference.engine import upscale
from inference.engine.errors import RenderFailed
from tests.support.tiny_models import rrdbnet_state
from tests.support.tiny_operations import (
    compact_state,
    disc,
    first_esrgan_names,
    noise,
    save_state,
    second_esrgan_names,
    upscaler_file,
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def test_reads_the_current_key_layout_in_both_kinds_of_file(tmp_path):
    state = rrdbnet_state()
    safe = upscale.load(save_state(state, tmp_path / "a.safetensors"))
    wrapped = tmp_path / "b.pth"
    torch.save({"params_ema": state, "params": {}}, wrapped)
    image = noise(12, 10)
    assert difference(safe.upscale(image, 4), upscale.load(wrapped).upscale(image, 4)) == 0


@pytest.mark.parametrize("rename", [first_esrgan_names, second_esrgan_names])
def test_reads_the_older_key_layouts_as_the_same_network(tmp_path, rename):
    state = rrdbnet_state()
    renamed = rename(state)
    assert set(renamed) != set(state)
    old = upscale.load(save_state(renamed, tmp_path / "old.pth"))
    new = upscale.load(save_state(state, tmp_path / "new.pth"))
    assert difference(old.upscale(noise(12, 10), 4), new.upscale(noise(12, 10), 4)) == 0


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_tells_the_native_factor_from_the_shapes(tmp_path, scale):
    upscaler = upscale.load(upscaler_file(tmp_path, scale=scale))
    assert upscaler.scale == scale
    assert upscaler.upscale(noise(13, 11), scale).size == (13 * scale, 11 * scale)


@pytest.mark.parametrize("scale", [2, 4])
def test_reads_the_compact_network(tmp_path, scale):
    upscaler = upscale.load(save_state(compact_state(scale=scale), tmp_path / "general.pth"))
    assert upscaler.scale == scale
    assert upscaler.upscale(disc(30, 20), scale).size == (30 * scale, 20 * scale)


def test_a_compact_network_without_detail_is_the_nearest_neighbour_enlargement(tmp_path):
    state = compact_state(scale=4)
    state = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    upscaler = upscale.load(save_state(state, tmp_path / "general.pth"))
    image = noise(9, 7)
    assert difference(upscaler.upscale(image, 4), image.resize((36, 28), Image.Resampling.NEAREST)) == 0


def test_a_smaller_factor_averages_what_the_network_drew(tmp_path):
    """A network that adds the same 4 x 4 pattern everywhere: bright in the middle, dark around, zero on average."""
    state = {name: torch.zeros_like(tensor) for name, tensor in compact_state(scale=4).items()}
    pattern = torch.full((4, 4), -0.1)
    pattern[1:3, 1:3] = 0.3
    state["body.6.bias"] = pattern.flatten().repeat(3)
    upscaler = upscale.load(save_state(state, tmp_path / "pattern.pth"))
    small = np.asarray(upscaler.upscale(Image.new("RGB", (16, 16), "#808080"), 1), dtype=int)
    assert np.abs(small[4:-4, 4:-4] - 128).max() < 12


def test_sizes_that_the_network_cannot_fold_are_continued_at_their_edge(tmp_path):
    upscaler = upscale.load(upscaler_file(tmp_path, scale=2))
    odd = noise(13, 11)
    even = Image.fromarray(np.pad(np.asarray(odd), ((0, 1), (0, 1), (0, 0)), mode="edge"))
    assert difference(upscaler.upscale(odd, 2), upscaler.upscale(even, 2).crop((0, 0, 26, 22))) == 0


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("scale", [2, 4])
def test_any_factor_gives_exactly_that_size(tmp_path, factor, scale):
    upscaler = upscale.load(upscaler_file(tmp_path, scale=scale))
    assert upscaler.upscale(noise(21, 15), factor, tile_px=64).size == (21 * factor, 15 * factor)


@pytest.mark.parametrize(("scale", "factor"), [(4, 4), (4, 3), (4, 2), (2, 2), (2, 3), (1, 1)])
def test_tiles_leave_no_trace(tmp_path, scale, factor):
    upscaler = upscale.load(upscaler_file(tmp_path, scale=scale))
    image = noise(150, 97)
    whole = upscaler.upscale(image, factor, tile_px=512)
    tiled = upscaler.upscale(image, factor, tile_px=64)
    assert np.asarray(whole).std() > 1  # else there would be nothing to see
    assert difference(whole, tiled) <= 1


def test_without_overlap_the_tiles_would_show(tmp_path):
    """The control of the test above: it is the overlap that hides the seams."""
    upscaler = upscale.load(upscaler_file(tmp_path))
    image = noise(150, 97)
    whole = upscaler.upscale(image, 4, tile_px=512)
    assert difference(whole, upscaler.upscale(image, 4, tile_px=64, overlap_px=0)) > 1


def test_the_network_never_sees_more_than_a_tile_and_its_margins(tmp_path):
    upscaler = upscale.load(upscaler_file(tmp_path))
    seen = []
    upscaler.network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    upscaler.upscale(noise(300, 200), 2, tile_px=64, overlap_px=16)
    assert len(seen) == 20
    assert max(side for shape in seen for side in shape) <= 64 + 2 * 16


def test_transparency_is_kept(tmp_path):
    image = disc(24, 16).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((24, 16)))
    result = upscale.load(upscaler_file(tmp_path)).upscale(image, 2)
    assert result.mode == "RGBA"
    alpha = np.asarray(result.getchannel("A"))
    assert alpha[0].max() < 20
    assert alpha[-1].min() > 235


def test_transparent_edges_get_no_fringe(tmp_path):
    """A red disc on hidden black: every pixel that can be seen at all stays red."""
    image = disc(48, 48, "#ff0000", "#000000").convert("RGBA")
    image.putalpha(disc(48, 48, "white", "black").convert("L").resize((48, 48)))
    image.putpixel((24, 12), (255, 0, 0, 120))
    state = {name: torch.zeros_like(tensor) for name, tensor in compact_state(scale=2).items()}
    result = np.asarray(upscale.load(save_state(state, tmp_path / "nearest.pth")).upscale(image, 2), dtype=int)
    seen = result[result[..., 3] > 8]
    assert len(seen) > 500
    assert seen[:, 0].min() > 250
    assert seen[:, 1:3].max() < 5


def test_reports_each_tile_and_can_be_stopped(tmp_path):
    upscaler = upscale.load(upscaler_file(tmp_path))
    reports = []
    upscaler.upscale(noise(128, 64), 2, tile_px=64, on_tile=lambda done, total: reports.append((done, total)))
    assert reports == [(1, 2), (2, 2)]

    def stop(done, total):
        raise RenderFailed(code="cancelled", message="stopped")

    with pytest.raises(RenderFailed) as failure:
        upscaler.upscale(noise(128, 64), 2, tile_px=64, on_tile=stop)
    assert failure.value.code == "cancelled"


def test_smaller_tiles_follow_when_memory_runs_out(tmp_path):
    upscaler = upscale.load(upscaler_file(tmp_path))
    expected = upscaler.upscale(noise(130, 90), 2, tile_px=64)

    def refuse_large(_, inputs):
        if max(inputs[0].shape[2:]) > 110:
            raise torch.OutOfMemoryError("too large")

    upscaler.network.register_forward_pre_hook(refuse_large)
    assert difference(upscaler.upscale(noise(130, 90), 2, tile_px=256), expected) <= 1


def test_a_device_too_small_for_any_tile_is_an_error_worth_another_try(tmp_path):
    upscaler = upscale.load(upscaler_file(tmp_path))

    def refuse(_, inputs):
        raise torch.OutOfMemoryError("full")

    upscaler.network.register_forward_pre_hook(refuse)
    with pytest.raises(RenderFailed) as failure:
        upscaler.upscale(disc(), 2)
    assert (failure.value.code, failure.value.retryable) == ("out_of_memory", True)


@pytest.mark.parametrize(
    ("image", "factor", "code"),
    [
        (Image.new("RGB", (8, 8)), 0, "invalid_factor"),
        (Image.new("RGB", (8, 8)), 9, "invalid_factor"),
        (Image.new("L", (4100, 4100)), 2, "image_too_large"),
        (Image.new("L", (3000, 3000)), 4, "image_too_large"),
    ],
)
def test_refuses_factors_and_sizes_beyond_the_limits(tmp_path, image, factor, code):
    with pytest.raises(RenderFailed) as failure:
        upscale.load(upscaler_file(tmp_path)).upscale(image, factor)
    assert failure.value.code == code


def test_says_which_file_is_missing_or_foreign(tmp_path):
    with pytest.raises(RenderFailed, match=r"RealESRGAN_x4plus\.pth") as failure:
        upscale.load(tmp_path / "RealESRGAN_x4plus.pth")
    assert failure.value.code == "model_missing"
    foreign = save_state({"encoder.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(RenderFailed, match="neither an ESRGAN") as failure:
        upscale.load(foreign)
    assert failure.value.code == "model_unreadable"


def test_a_file_of_another_size_of_network_is_refused_rather_than_half_loaded(tmp_path):
    state = rrdbnet_state()
    state.pop("conv_body.bias")
    with pytest.raises(RenderFailed, match="do not fit") as failure:
        upscale.load(save_state(state, tmp_path / "torn.pth"))
    assert failure.value.code == "model_unreadable"


def test_a_weight_file_cannot_run_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    path = tmp_path / "evil.pth"
    torch.save({"params": Payload()}, path)
    with pytest.raises(RenderFailed) as failure:
        upscale.load(path)
    assert failure.value.code == "model_unreadable"
    assert not (tmp_path / "ran").exists()
