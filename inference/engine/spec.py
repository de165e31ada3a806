"""The vocabulary between the gateway and the render engine: what to render, and what came of it.

Everything here is a frozen dataclass of plain values, because a RenderSpec travels inside a message to a machine
that shares nothing with the gateway but storage. This module imports neither Django nor torch.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class Operation(enum.StrEnum):
    """What a render does. Every route of the API maps to one of these."""

    TEXT_TO_IMAGE = "text2img"
    IMAGE_TO_IMAGE = "img2img"
    INPAINT = "inpaint"
    OUTPAINT = "outpaint"
    UPSCALE = "upscale"
    REMOVE_BACKGROUND = "remove_background"
    CREATE_MASK = "create_mask"
    CHECK_SAFETY = "check_safety"


class Family(enum.StrEnum):
    """The architectures that the engine knows. `SD15` covers Stable Diffusion 1.x and 2.x."""

    SD15 = "sd15"
    SDXL = "sdxl"
    SD3 = "sd3"
    FLUX = "flux"
    UPSCALER = "upscaler"
    BACKGROUND = "background"
    SAFETY = "safety"


class Message:
    """Base of the dataclasses that travel: a dictionary of JSON values and back, nested dataclasses included."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(typing.cast(Any, self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Unknown keys are ignored, so that a newer gateway may talk to an older render worker."""
        hints = typing.get_type_hints(cls)
        known = {f.name for f in dataclasses.fields(typing.cast(Any, cls))}
        return cls(**{name: _revive(hints[name], value) for name, value in data.items() if name in known})


def _revive(hint: Any, value: Any) -> Any:
    """`value` from JSON as the annotated type: enums, nested messages, tuples of either."""
    if value is None:
        return None
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return _revive(inner[0], value)
    if origin is tuple:
        return tuple(_revive(typing.get_args(hint)[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if isinstance(hint, type) and issubclass(hint, Message):
        return hint.from_dict(value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef(Message):
    """Where a model's weights are. The render worker resolves `source`; the gateway never opens it.

    `source` is a diffusers folder or a single .safetensors file (absolute, or relative to the worker's MODEL_DIR),
    or a hub id of the form `owner/name`. `prediction_type` overrides what a single file cannot say about itself.
    """

    model_id: str
    family: Family
    source: str
    revision: str | None = None
    variant: str | None = None
    prediction_type: str | None = None
    trigger_words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRef(Message):
    """A LoRA, embedding, ControlNet, VAE or IP-Adapter: same rules for `source` as ModelRef."""

    adapter_id: str
    source: str
    strength: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRef(Message):
    """One ControlNet of a request. `kind` is canny, depth, openpose, scribble, ...: it names the preprocessor.

    `source` None means that no weights are configured for this kind and family; the gateway refuses such calls.
    `image` is the storage key of a ready hint (control_image); None derives the hint from the first init image
    when `auto_hint` is on, else uses that image as the hint.
    """

    kind: str
    source: str
    scale: float = 1.0
    auto_hint: bool = True
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAdapterRef(Message):
    adapter_id: str
    source: str
    scale: float
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySpec(Message):
    """What happens to a flagged picture. `action` is blur, pixelate, black or sensitive_content_text."""

    enabled: bool = False
    action: str = "sensitive_content_text"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleSpec(Message):
    """`factor` is the output side over the input side."""

    factor: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OutpaintSpec(Message):
    """The target canvas is RenderSpec.width_px x height_px; the picture is centred, `overlap_px` of it is blended."""

    overlap_px: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundSpec(Message):
    """Options of background removal, as the API names them."""

    only_mask: bool = False
    inverse_mask: bool = False
    post_process_mask: bool = False
    alpha_matting: bool = False
    foreground_threshold: int = 240
    background_threshold: int = 20
    erode_px: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSpec(Message):
    """One accepted call, complete: a render worker needs nothing else but storage and model files.

    `token` names the files and the job; `attempt` counts leases of it. `account` is an opaque key for fair sharing.
    Image k of `samples` uses `seed + k`. Sizes are pixels of the final picture before `upscale`. Storage keys in
    `init_images`, `mask_image` and the refs point at pictures that the gateway has fetched, checked and stored.
    `output_keys` are the storage keys promised to the client, one per sample. `preview_key`, where somebody watches, is
    where a small picture of what is becoming stands until the pictures are done.
    """

    token: str
    account: str
    operation: Operation
    model: ModelRef
    prompt: str = ""
    negative_prompt: str = ""
    width_px: int = 512
    height_px: int = 512
    samples: int = 1
    seed: int = 0
    num_inference_steps: int = 20
    guidance_scale: float = 7.5
    strength: float = 0.7
    scheduler: str | None = None
    use_karras_sigmas: bool = False
    algorithm_type: str | None = None
    clip_skip: int = 0
    init_images: tuple[str, ...] = ()
    mask_image: str | None = None
    controls: tuple[ControlRef, ...] = ()
    guess_mode: bool = False
    loras: tuple[AdapterRef, ...] = ()
    embeddings: tuple[AdapterRef, ...] = ()
    vae: AdapterRef | None = None
    ip_adapter: IPAdapterRef | None = None
    safety: SafetySpec = field(default_factory=SafetySpec)
    upscale: UpscaleSpec | None = None
    outpaint: OutpaintSpec | None = None
    background: BackgroundSpec | None = None
    mask_subject: str = ""
    enhance_prompt: bool = False
    enhance_style: str | None = None
    tomesd: bool = False
    highres_fix: bool = False
    panorama: bool = False
    self_attention: bool = False
    deterministic: bool = False
    output_format: str = "png"
    parameters_in_pictures: bool = True
    output_keys: tuple[str, ...] = ()
    preview_key: str = ""
    attempt: int = 1
    deadline_s: float = 600.0

    @property
    def cost_megapixel_steps(self) -> float:
        """The unit of work by which accounts share the GPU: megapixels x steps x samples."""
        return self.width_px * self.height_px * max(self.num_inference_steps, 1) * self.samples / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedImage(Message):
    """One delivered picture. `index` is its place in `samples`; `key` is where storage holds it."""

    index: int
    key: str
    seed: int
    width_px: int
    height_px: int
    bytes: int
    sha256: str
    flagged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderResult(Message):
    """What a render worker reports. `images` may be fewer than asked: the rest is then released, not charged.

    `used` overrides what was asked, wherever the engine used something else (prompt after enhancement, scheduler,
    steps, strength...), in the vocabulary of RenderSpec; `notes` says in words what had no effect and why. `trace` is
    for the operator alone.
    """

    token: str
    attempt: int
    images: tuple[RenderedImage, ...] = ()
    used: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    load_ms: int = 0
    wait_ms: int = 0
    run_ms: int = 0
    gpu_time_ms: int = 0
    error_code: str = ""
    error_message: str = ""
    retryable: bool = False
    trace: str = ""

    @property
    def failed(self) -> bool:
        return not self.images
