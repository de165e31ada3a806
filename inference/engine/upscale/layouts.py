"""Recognises which network a state dictionary belongs to, and renames the older key layouts to the current one.

Three generations of names are in circulation: Real-ESRGAN's (conv_first, body, ...), BSRGAN's (RRDB_trunk, upconv1,
...) and the first ESRGAN's (model.0, model.1.sub.N, ...). Sizes are read from the shapes, never from the file name.
"""

from __future__ import annotations

import re
from pathlib import Path

from inference.engine.upscale.networks import CompactNet, RRDBNet
from inference.engine.weightfile import State, fill, unreadable

Network = RRDBNet | CompactNet

_UNSHUFFLE_OF_INPUTS = {3: 1, 12: 2, 48: 4}
_SECOND_LAYOUT = (
    (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"^trunk_conv\.", "conv_body."),
    (r"^upconv(\d)\.", r"conv_up\1."),
    (r"^HRconv\.", "conv_hr."),
)


def build(state: State, path: Path) -> Network:
    """The network of this state dictionary with its weights; RenderFailed when the layout is not known."""
    state = _renamed(state)
    network = _compact(state) if "body.0.weight" in state else _rrdb(state, path)
    fill(network, state, path)
    return network


def _compact(state: State) -> CompactNet:
    places = sorted({int(name.split(".")[1]) for name in state if name.startswith("body.")})
    outputs = state[f"body.{places[-1]}.weight"].shape[0]
    channels = state["body.0.weight"].shape[0]
    return CompactNet(channels=channels, convolutions=(places[-1] - 2) // 2, scale=round((outputs / 3) ** 0.5))


def _rrdb(state: State, path: Path) -> RRDBNet:
    needed = ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight")
    if any(name not in state for name in needed):
        raise unreadable(path, "it is neither an ESRGAN (RRDBNet) nor a compact Real-ESRGAN file")
    channels, inputs = state["conv_first.weight"].shape[:2]
    if inputs not in _UNSHUFFLE_OF_INPUTS:
        raise unreadable(path, f"its first layer takes {inputs} channels, known are 3, 12 and 48")
    return RRDBNet(
        channels=channels,
        blocks=1 + max(int(name.split(".")[1]) for name in state if name.startswith("body.")),
        growth=state["body.0.rdb1.conv1.weight"].shape[0],
        unshuffle=_UNSHUFFLE_OF_INPUTS[inputs],
        doublings=sum(bool(re.fullmatch(r"conv_up\d\.weight", name)) for name in state),
    )


def _renamed(state: State) -> State:
    if "model.0.weight" in state:
        names = _first_layout_names(state)
        return {_rename_first(name, names): tensor for name, tensor in state.items()}
    for pattern, replacement in _SECOND_LAYOUT:
        state = {re.sub(pattern, replacement, name): tensor for name, tensor in state.items()}
    return state


def _first_layout_names(state: State) -> dict[str, str]:
    """The plain layers of the first layout are numbered: one, the doublings, then the last two."""
    numbers = sorted({int(found[1]) for name in state if (found := re.match(r"model\.(\d+)\.(?:weight|bias)$", name))})
    trunk = [int(found[1]) for name in state if (found := re.match(r"model\.1\.sub\.(\d+)\.", name))]
    names = {f"model.1.sub.{max(trunk, default=0)}": "conv_body", "model.0": "conv_first"}
    for place, number in enumerate(numbers[1:-2], start=1):
        names[f"model.{number}"] = f"conv_up{place}"
    for number, name in zip(numbers[-2:], ("conv_hr", "conv_last"), strict=False):
        names[f"model.{number}"] = name
    return names


def _rename_first(name: str, names: dict[str, str]) -> str:
    layer, _, leaf = name.rpartition(".")
    if layer in names:
        return f"{names[layer]}.{leaf}"
    return re.sub(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3.", name)
