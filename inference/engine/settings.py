"""What a render worker's operator may choose about the engine, and the defaults. No torch here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

CONFIGS_DIR = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """`from_environ` reads MODEL_DIR, and every other field from RENDER_<FIELD IN CAPITALS>.

    device, dtype: "auto" takes CUDA in bfloat16 where there is a GPU, else the CPU in float32.
    threads: torch threads; 0 leaves torch's own choice.
    max_rows: network rows of one shared forward (an image with guidance is two rows).
    max_active_images: images under way at once; the rest waits without using memory.
    memory_budget_bytes: room for resident models; 0 means most of the device's (GPU) or half of the machine's memory.
    allow_hub: whether a model id of the form owner/name may be downloaded; else only the local hub cache serves it.
    tokenizers_dir: tokenizers of single-file checkpoints (folders clip, openclip, t5); default MODEL_DIR/tokenizers.
    safety_dir: the safety checker's folder, absolute or relative to MODEL_DIR.
    require_safety: fail a job that asks for the check while no checker is installed, instead of saying so.
    upscaler: what enlarges drawn pictures: a file or a folder with one, absolute or relative to MODEL_DIR.
    preview_percent: how much of the device's time previews may take, for those who watch; 0 draws none.
    warm_models: loaded at start and drawn with once, as "family:source" separated by commas.
    compile: a torch.compile backend ("inductor") for the denoiser's blocks; pays after minutes of the same model.
    attention_backend: a diffusers backend such as "flash" or "_flash_3_hub"; empty leaves PyTorch's own choice.
    channels_last: memory layout of convolution networks; faster on GPUs, no gain on CPUs.
    """

    model_dir: Path = Path("models")
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    max_rows: int = 16
    max_active_images: int = 32
    memory_budget_bytes: int = 0
    allow_hub: bool = False
    hub_cache: Path | None = None
    tokenizers_dir: Path | None = None
    configs_dir: Path = CONFIGS_DIR
    safety_dir: Path = Path("safety")
    require_safety: bool = False
    upscaler: Path = Path("upscaler")
    preview_percent: int = 3
    warm_models: tuple[str, ...] = ()
    compile: str = ""
    channels_last: bool = True
    attention_backend: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        environ = os.environ if environ is None else environ
        chosen: dict[str, Any] = {}
        for field in fields(cls):
            name = "MODEL_DIR" if field.name == "model_dir" else f"RENDER_{field.name.upper()}"
            if environ.get(name, "").strip():
                chosen[field.name] = _parse(name, environ[name].strip(), str(field.type))
        return cls(**chosen)


def _parse(name: str, text: str, kind: str) -> Any:
    """`text` of the variable `name` as the annotated type of its field."""
    if kind.startswith("Path"):
        return Path(text).expanduser()
    if kind == "bool":
        if text.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
            raise ValueError(f"{name} must be yes or no, not {text!r}.")
        return text.lower() in ("1", "true", "yes", "on")
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind == "int":
        if not text.isdecimal():
            raise ValueError(f"{name} must be a whole number of at least 0, not {text!r}.")
        return int(text)
    return text
