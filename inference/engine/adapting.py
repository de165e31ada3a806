"""What a job brings beside its base model (LoRAs, embeddings, ControlNets, an IP-Adapter) as what samples need of it.

Everything here belongs to one job; nothing is changed in the model that others use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from inference.engine import control
from inference.engine.errors import RenderFailed
from inference.engine.families import embeddings, lora
from inference.engine.families.base import Condition, Model, Role
from inference.engine.families.controls import Control, fits
from inference.engine.families.dresses import Dress, MergedTokens
from inference.engine.families.ip_adapter import IPAdapterDress, IPAdapterFile
from inference.engine.parts import PartKind, PartRef
from inference.engine.pixels import cover, opaque
from inference.engine.report import Report
from inference.engine.spec import AdapterRef, ControlRef, IPAdapterRef, RenderSpec

Parts = Mapping[PartRef, Any]


def embedding_ref(adapter: AdapterRef) -> PartRef:
    return PartRef(PartKind.EMBEDDING, adapter.source, name=adapter.adapter_id)


def needs(spec: RenderSpec) -> list[PartRef]:
    """The parts of a job's adapters."""
    refs = [PartRef(PartKind.CONTROLNET, ref.source) for ref in spec.controls]
    refs += [PartRef(PartKind.LORA, ref.source) for ref in spec.loras]
    refs += [embedding_ref(ref) for ref in spec.embeddings]
    refs += [PartRef(PartKind.VAE, spec.vae.source)] if spec.vae else []
    refs += [PartRef(PartKind.IP_ADAPTER, spec.ip_adapter.source)] if spec.ip_adapter else []
    return refs


def loras(spec: RenderSpec, parts: Parts, model: Model, report: Report) -> tuple[lora.Use, ...]:
    uses = []
    for ref in spec.loras:
        try:
            fitted = parts[PartRef(PartKind.LORA, ref.source)].fitted(model)
        except RenderFailed:
            if not model.family.skips_foreign_adapters:
                raise
            report.note(f"{ref.adapter_id} had no effect: it is no LoRA for this family of models.")
            continue
        if fitted.ignored_dora:
            report.note(f"{ref.adapter_id} is a DoRA; it was used as a plain LoRA, without its magnitudes.")
        uses.append((fitted, ref.strength))
    return tuple(uses)


@contextlib.contextmanager
def text_adapted(spec: RenderSpec, parts: Parts, model: Model, uses: tuple[lora.Use, ...]) -> Iterator[None]:
    """Within, the model's text encoders know the job's words and LoRAs."""
    words = [parts[embedding_ref(ref)] for ref in spec.embeddings]
    with contextlib.ExitStack() as stack:
        stack.enter_context(embeddings.taught(model, words))
        for component in lora.TEXT_ENCODERS:
            encoder = getattr(model.pipe, component, None)
            if encoder is not None:
                stack.enter_context(lora.applied(encoder, component, [uses]))
        yield


def with_picture_prompt(
    conditions: tuple[Condition, ...], ref: IPAdapterRef, picture: Image.Image, parts: Parts, model: Model
) -> tuple[tuple[Condition, ...], Dress]:
    """The conditions with the picture's tokens, and what the network must wear to read them."""
    file: IPAdapterFile = parts[PartRef(PartKind.IP_ADAPTER, ref.source)]
    fitted = file.fitted(model)
    told, nothing = file.tokens(model, opaque(picture))
    tokens = {Role.POSITIVE: told, Role.PERTURBED: told, Role.NEGATIVE: nothing}
    adapted = tuple(Condition({**c.tensors, "picture": tokens[c.role]}, c.role) for c in conditions)
    return adapted, IPAdapterDress(file, fitted, ref.scale)


def dresses(spec: RenderSpec, model: Model, report: Report) -> tuple[Dress, ...]:
    if not spec.tomesd:
        return ()
    if not model.family.wears_dresses:
        report.change("tomesd", False)
        return ()
    report.note("tomesd: steps were shared only with other calls with tomesd.")
    return (MergedTokens(),)


def controls(
    spec: RenderSpec,
    parts: Parts,
    model: Model,
    pictures: Mapping[str, Image.Image],
    size: tuple[int, int],
    mask: Image.Image | None,
    model_dir: Path,
    construction: contextlib.AbstractContextManager[Any],
) -> tuple[Control, ...]:
    """The job's ControlNets with their hints. Preprocessors may build networks, hence the guard."""
    networks = [parts[PartRef(PartKind.CONTROLNET, ref.source)] for ref in spec.controls]
    made = []
    for ref, network in zip(spec.controls, networks, strict=True):
        _check_fits(ref, network, model)
        with construction:
            ready = _hint(ref, spec, pictures, size, model_dir, str(model.device))
        values = torch.from_numpy(control.values(ref.kind, ready, mask)).permute(2, 0, 1)[None]
        # As in the pipelines, the first network decides for all whether only the prompted row is steered.
        guess = spec.guess_mode or bool(networks[0].config.get("global_pool_conditions", False))
        key = f"{ref.source} {ref.kind}"
        made.append(Control(key, ref.kind, network, values.to(model.device), ref.scale, guess))
    return tuple(made)


def _check_fits(ref: ControlRef, network: Any, model: Model) -> None:
    if not fits(network, model.denoiser):
        message = f"controlnet_model {ref.kind}: these weights do not fit the family of {model.model_id}."
        raise RenderFailed(code="invalid_adapter", message=message)


def _hint(
    ref: ControlRef,
    spec: RenderSpec,
    pictures: Mapping[str, Image.Image],
    size: tuple[int, int],
    model_dir: Path,
    device: str,
) -> Image.Image:
    key = ref.image or (spec.init_images[0] if spec.init_images else "")
    if key not in pictures:
        raise RenderFailed(code="invalid_input", message=f"controlnet_model {ref.kind}: it needs a picture.")
    picture = opaque(pictures[key])
    if ref.image or not ref.auto_hint:
        return cover(picture, *size)
    return control.hint(ref.kind, picture, *size, model_dir, device=device)
