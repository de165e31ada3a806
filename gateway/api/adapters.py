"""What joins a model for one call: LoRAs, embeddings, a VAE, ControlNets, an IP-Adapter. By the catalogue's ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.api.catalogue import adapter_of, controlnet_of
from gateway.api.fields import Fields, as_list
from gateway.api.inputs import Source, StoredInput, sources_read
from inference.engine.spec import AdapterRef, ControlRef, Family, IPAdapterRef
from inference.models import Adapter
from inference.selectors import CatalogueModel

ADAPTERS_MAX = 8
# What the examples of that API's documentation stand in for an id; programs in use send them as they are.
PLACEHOLDERS = frozenset({"lora_model_id", "embeddings_model_id"})
STRENGTH_MAX = 2.0
CONTROL_SCALE_MIN, CONTROL_SCALE_MAX = 0.1, 5.0
CONTROL_KINDS = (
    "canny",
    "depth",
    "hed",
    "mlsd",
    "normal",
    "openpose",
    "scribble",
    "segmentation",
    "inpaint",
    "softedge",
    "lineart",
    "shuffle",
    "tile",
    "face_detector",
    "qrcode",
    "blur",
    "pose",
    "gray",
    "low_quality",
    "aesthetic-controlnet",
)


@dataclass(frozen=True, slots=True)
class ControlAsked:
    """ControlNets that were asked for and exist; their hint is not fetched yet."""

    adapters: tuple[tuple[str, Adapter], ...]
    scales: tuple[float, ...]
    auto_hint: bool
    guess_mode: bool
    hint: Source | None

    def refs(self, hint: StoredInput | None) -> tuple[ControlRef, ...]:
        return tuple(
            ControlRef(
                kind=kind,
                source=adapter.source,
                scale=scale,
                auto_hint=self.auto_hint and hint is None,
                image=hint.key if hint else None,
            )
            for (kind, adapter), scale in zip(self.adapters, self.scales, strict=True)
        )


@dataclass(frozen=True, slots=True)
class IPAdapterAsked:
    adapter: Adapter
    scale: float
    picture: Source

    def ref(self, picture: StoredInput) -> IPAdapterRef:
        return IPAdapterRef(
            adapter_id=self.adapter.adapter_id, source=self.adapter.source, scale=self.scale, image=picture.key
        )


def adapters_read(fields: Fields, model: CatalogueModel) -> dict[str, Any]:
    """LoRAs, embeddings and VAE as arguments of RenderSpec. Raises AdapterNotFound."""
    arguments: dict[str, Any] = {}
    if fields.value("lora_model") is not None:
        arguments["loras"] = _refs(fields, "lora_model", "lora_strength", "lora", model.family)
    if model.family is Family.FLUX:  # ignores the rest, as the API documents
        return arguments
    if fields.value("embeddings_model", "embeddings") is not None:
        name = "embeddings_model" if fields.value("embeddings_model") is not None else "embeddings"
        arguments["embeddings"] = _refs(fields, name, None, "embedding", model.family)
    vae_id = fields.text("vae", chars_max=120)
    if vae_id:
        vae = adapter_of(vae_id, kind="vae", family=model.family)
        arguments["vae"] = AdapterRef(adapter_id=vae.adapter_id, source=vae.source)
    return arguments


def _refs(fields: Fields, name: str, strength_name: str | None, kind: str, family: Family) -> tuple[AdapterRef, ...]:
    ids = _ids(fields, name)
    strengths = fields.numbers(strength_name, low=0.0, high=STRENGTH_MAX) if strength_name else []
    found = [adapter_of(adapter_id, kind=kind, family=family) for adapter_id in ids]
    return tuple(
        AdapterRef(adapter_id=adapter.adapter_id, source=adapter.source, strength=strength)
        for adapter, strength in zip(found, _spread(strengths, len(found)), strict=True)
    )


def _ids(fields: Fields, name: str) -> list[str]:
    ids = [str(item)[:120] for item in as_list(fields.value(name))]
    if placeholders := [one for one in ids if one in PLACEHOLDERS]:
        fields.adjust(name, ", ".join(placeholders), None, f"{name} names nothing: it is an example's placeholder")
        ids = [one for one in ids if one not in PLACEHOLDERS]
    if len(ids) > ADAPTERS_MAX:
        fields.fault(name, "too_many", f"has {len(ids)} ids; at most {ADAPTERS_MAX} are accepted", limit=ADAPTERS_MAX)
        return []
    return ids


def _spread(numbers: list[float], count: int) -> list[float]:
    """One number per adapter: the last one given serves those that have none of their own."""
    numbers = numbers or [1.0]
    return (numbers + [numbers[-1]] * count)[:count]


def control_read(fields: Fields, model: CatalogueModel, *, needed: bool) -> ControlAsked | None:
    """The ControlNets of the call; None when it has none. Raises CapabilityMissing for one that nobody has added."""
    name = "controlnet_model" if fields.value("controlnet_model") is not None else "controlnet_type"
    kinds = [kind.lower() for kind in _ids(fields, name)]
    if not kinds:
        if needed:
            fields.require("controlnet_model")
        return None
    unknown = [kind for kind in kinds if kind not in CONTROL_KINDS]
    if unknown:
        message = f"must be among {', '.join(CONTROL_KINDS)}"
        fields.fault(name, "unknown", message, ", ".join(unknown), limit=list(CONTROL_KINDS))
        return None
    scales = fields.numbers("controlnet_conditioning_scale", low=CONTROL_SCALE_MIN, high=CONTROL_SCALE_MAX)
    hints = sources_read(fields, ("control_image",), most=1, required=False)
    return ControlAsked(
        adapters=tuple((kind, controlnet_of(kind, family=model.family)) for kind in kinds),
        scales=tuple(_spread(scales, len(kinds))),
        auto_hint=fields.flag("auto_hint", default=True),
        guess_mode=fields.flag("guess_mode", default=False),
        hint=hints[0] if hints else None,
    )


def ip_adapter_read(fields: Fields, model: CatalogueModel) -> IPAdapterAsked | None:
    adapter_id = fields.text("ip_adapter_id", chars_max=120)
    if not adapter_id or model.family is Family.FLUX:
        return None
    adapter = adapter_of(adapter_id, kind="ip_adapter", family=model.family)
    scale = fields.number("ip_adapter_scale", default=1.0, low=0.0, high=1.0)
    pictures = sources_read(fields, ("ip_adapter_image",), most=1, required=True)
    return IPAdapterAsked(adapter, scale, pictures[0]) if pictures else None
