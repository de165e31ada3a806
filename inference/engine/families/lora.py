"""LoRA without touching the network: hooks add each row's own low-rank terms to the outputs of the layers.

Weights are read by diffusers' converters (kohya, PEFT and other layouts), kept beside the model, and added only for
the rows that ask for them. So rows with different LoRAs, several at once or none share a forward, and nothing can
leak into the next job: outside of `applied` the hooks do nothing.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft, convert_unet_state_dict_to_peft

from inference.engine.errors import RenderFailed
from inference.engine.families.sample import Model
from inference.engine.weightfile import State

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
UNSUPPORTED = {"hada_w1_a": "LoHa", "lokr_w1": "LoKr", "oft_blocks": "OFT"}


@dataclass(frozen=True, slots=True)
class Delta:
    """The low-rank term of one layer: up(down(x)). `up` already contains alpha / rank."""

    down: torch.Tensor
    up: torch.Tensor

    def __call__(self, module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(module, torch.nn.Conv2d):
            inner = torch.nn.functional.conv2d(
                x, self.down, None, module.stride, module.padding, module.dilation, module.groups
            )
            return torch.nn.functional.conv2d(inner, self.up)
        return torch.nn.functional.linear(torch.nn.functional.linear(x, self.down), self.up)


@dataclass(eq=False, slots=True)
class LoraFile:
    """A LoRA as it was read; `fitted` turns it into a model's layers once per family."""

    label: str
    state: State
    metadata: dict[str, Any] = field(default_factory=dict)
    _fitted: dict[tuple[str, int], Lora] = field(default_factory=dict)

    def fitted(self, model: Model) -> Lora:
        key = (model.family.name, getattr(model.denoiser.config, "layers_per_block", 0))
        if key not in self._fitted:
            self._fitted[key] = _fit(self, model)
        return self._fitted[key]


@dataclass(frozen=True, eq=False, slots=True)
class Lora:
    """Deltas by component ("unet", "text_encoder", ...) and layer."""

    label: str
    components: dict[str, dict[str, Delta]]
    ignored_dora: bool = False


Use = tuple[Lora, float]


@dataclass(eq=False, slots=True)
class _Application:
    """One LoRA in the current forward: which rows want it, and how strongly. No rows means all, equally."""

    deltas: dict[str, Delta]
    strengths: torch.Tensor
    rows: torch.Tensor | None


@dataclass(eq=False, slots=True)
class _Patch:
    """What a network's hooks look at. `hooked` are the layers that have one; they keep it, it costs a look-up."""

    hooked: set[str] = field(default_factory=set)
    now: list[_Application] = field(default_factory=list)


_patches: weakref.WeakKeyDictionary[torch.nn.Module, _Patch] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def applied(network: torch.nn.Module, component: str, rows: Sequence[tuple[Use, ...]]) -> Iterator[None]:
    """Within, row i of every forward of the network gets its own LoRAs `rows[i]`."""
    wanted: dict[Lora, dict[int, float]] = {}
    for row, uses in enumerate(rows):
        for lora, strength in uses:
            if component in lora.components:
                places = wanted.setdefault(lora, {})
                places[row] = places.get(row, 0.0) + strength
    if not wanted:
        yield
        return
    patch = _patches.setdefault(network, _Patch())
    device = next(network.parameters()).device
    for lora, places in wanted.items():
        deltas = lora.components[component]
        _hook(network, patch, deltas)
        everyone = len(places) == len(rows)
        strengths = torch.tensor(list(places.values()), device=device)
        patch.now.append(
            _Application(deltas, strengths, None if everyone else torch.tensor(list(places), device=device))
        )
    try:
        yield
    finally:
        patch.now.clear()


def _hook(network: torch.nn.Module, patch: _Patch, deltas: dict[str, Delta]) -> None:
    for name in deltas.keys() - patch.hooked:
        patch.hooked.add(name)
        network.get_submodule(name).register_forward_hook(_Adder(name, patch))


class _Adder:
    """The hook of one layer."""

    def __init__(self, name: str, patch: _Patch) -> None:
        self.name, self.patch = name, patch

    def __call__(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        for application in self.patch.now:
            delta = application.deltas.get(self.name)
            if delta is not None:
                output = _added(application, delta, module, args[0], output)
        return output


def _added(
    application: _Application, delta: Delta, module: torch.nn.Module, x: torch.Tensor, output: torch.Tensor
) -> torch.Tensor:
    strengths = application.strengths.to(output.dtype).view(-1, *[1] * (output.ndim - 1))
    if application.rows is None:
        return output + delta(module, x) * strengths
    return output.index_add(0, application.rows, delta(module, x[application.rows]) * strengths)


# --- Reading ----------------------------------------------------------------------------------------------------------


def _fit(file: LoraFile, model: Model) -> Lora:
    """The file's weights as deltas of this model's layers. Layers that the model lacks are an error, not a silence."""
    state = _with_alphas(file)
    kind = next((name for part, name in UNSUPPORTED.items() if any(part in key for key in state)), None)
    if kind:
        raise RenderFailed(
            code="invalid_adapter", message=f"{file.label} is a {kind}, which is not supported; use LoRA."
        )
    dora = any("dora_scale" in key for key in state)
    components: dict[str, dict[str, Delta]] = {}
    for component, weights in _converted(file, state, model).items():
        network = getattr(model.pipe, component, None)
        if network is not None and weights:
            components[component] = _deltas(file.label, network, weights, model)
    if not components:
        raise RenderFailed(code="invalid_adapter", message=f"{file.label} has no weights for this family of models.")
    return Lora(file.label, components, dora)


def _with_alphas(file: LoraFile) -> State:
    """The state with alpha / rank multiplied into the upper matrices, so that every converter means the same."""
    state = dict(file.state)
    for key in [key for key in state if key.endswith(".alpha")]:
        base, alpha = key.removesuffix(".alpha"), float(state[key])
        for down, up in ((".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")):
            if f"{base}{down}" in state:
                rank = state[f"{base}{down}"].shape[0]
                state[f"{base}{up}"] = state[f"{base}{up}"] * (alpha / rank)
                state[key] = torch.tensor(float(rank))
    return state


def _converted(file: LoraFile, state: State, model: Model) -> dict[str, State]:
    """PEFT's names by component: `<layer>.lora_A.weight` and `<layer>.lora_B.weight`."""
    denoiser = model.family.denoiser
    arguments: dict[str, Any] = {"unet_config": model.denoiser.config} if denoiser == "unet" else {}
    try:
        result = model.family.pipeline.lora_state_dict(state, **arguments)
    except Exception as error:  # The converters raise whatever a foreign layout makes them stumble over.
        message = f"{file.label} is no LoRA for this family of models."
        raise RenderFailed(code="invalid_adapter", message=message) from error
    named: State = result[0] if isinstance(result, tuple) else result
    out: dict[str, State] = {}
    for component in (denoiser, *TEXT_ENCODERS):
        part = {k.removeprefix(f"{component}."): v for k, v in named.items() if k.startswith(f"{component}.")}
        if part and component in TEXT_ENCODERS:
            part = convert_state_dict_to_peft(convert_state_dict_to_diffusers(part))
        elif part and not any("lora_A" in key for key in part):
            part = convert_unet_state_dict_to_peft(part)
        out[component] = part
    return out


def _deltas(label: str, network: torch.nn.Module, weights: State, model: Model) -> dict[str, Delta]:
    modules = dict(network.named_modules())
    deltas: dict[str, Delta] = {}
    for key in weights:
        if not key.endswith(".lora_A.weight"):
            continue
        name = key.removesuffix(".lora_A.weight")
        down, up = weights[key], weights[f"{name}.lora_B.weight"]
        module = modules.get(name)
        if module is None or not _fits(module, down, up):
            message = (
                f"{label} does not fit this model: it changes {name}, which the model lacks or has in another size."
            )
            raise RenderFailed(code="invalid_adapter", message=message)
        if isinstance(module, torch.nn.Linear):
            down, up = down.flatten(1), up.flatten(1)
        deltas[name] = Delta(down.to(model.device, model.dtype), up.to(model.device, model.dtype))
    return deltas


def _fits(module: torch.nn.Module, down: torch.Tensor, up: torch.Tensor) -> bool:
    weight = getattr(module, "weight", None)
    if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d) or weight is None:
        return False
    return bool(down.shape[1] == weight.shape[1] and up.shape[0] == weight.shape[0])


def apply_metadata(state: State, metadata: dict[str, Any]) -> State:
    """Files of newer diffusers tell alpha and rank in the header instead of in tensors."""
    out = dict(state)
    for key in [key for key in state if key.endswith(".lora_B.weight")]:
        component, name = key.removesuffix(".lora_B.weight").split(".", 1)
        told = {k.removeprefix(f"{component}."): v for k, v in metadata.items() if k.startswith(f"{component}.")}
        if "lora_alpha" in told:
            rank = state[key].shape[1]
            patterns = told.get("alpha_pattern") or {}
            alpha = next((value for part, value in patterns.items() if name.endswith(part)), told["lora_alpha"])
            out[key] = state[key] * (alpha / (math.sqrt(rank) if told.get("use_rslora") else rank))
    return out
