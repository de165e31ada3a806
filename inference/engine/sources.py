"""Finds the files behind a `source`: a diffusers folder, one weight file, or a hub id. Opens nothing but headers."""

from __future__ import annotations

import contextlib
import json
import re
import struct
from pathlib import Path
from typing import Any

from inference.engine.errors import RenderFailed
from inference.engine.settings import EngineSettings

HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
HUB_TIMEOUT_S = 10
# Models that ship with the program: found wherever the model folder is.
EMBEDDED = {"embedded:demo": Path(__file__).resolve().parents[1] / "demo" / "model"}
WEIGHT_NAMES = ("diffusion_pytorch_model", "model")
HEADER_MAX_BYTES = 100_000_000  # The format's own limit (safetensors' documentation).


def locate(settings: EngineSettings, source: str, *, revision: str | None = None, variant: str | None = None) -> Path:
    """The local path of a source; downloads a hub id where that is allowed."""
    if source in EMBEDDED:
        return EMBEDDED[source]
    path = Path(source)
    for candidate in (path,) if path.is_absolute() else (settings.model_dir / path,):
        if candidate.exists():
            return candidate
    if HUB_ID.match(source) and not source.startswith("."):
        return _from_hub(settings, source, revision, variant)
    raise RenderFailed(code="model_missing", message=f"There is no model {source!r} in the model folder.")


def _from_hub(settings: EngineSettings, source: str, revision: str | None, variant: str | None) -> Path:
    from huggingface_hub import snapshot_download

    other_variants = [] if variant else ["*.fp16.safetensors", "*.bf16.safetensors", "*.non_ema.safetensors"]
    try:
        folder = snapshot_download(
            source,
            revision=revision,
            cache_dir=settings.hub_cache,
            local_files_only=not settings.allow_hub,
            etag_timeout=HUB_TIMEOUT_S,
            allow_patterns=["*.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors"],
            ignore_patterns=["*/openvino*", *other_variants],
        )
    except Exception as error:  # The hub's client raises its own, requests' and the file system's errors.
        where = "the hub or its local cache" if settings.allow_hub else "the local hub cache (downloads are off)"
        message = f"The model {source!r} could not be had from {where}: {type(error).__name__}."
        raise RenderFailed(code="model_missing", message=message, retryable=settings.allow_hub) from error
    return Path(folder)


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """The safetensors files of a component: the asked variant, else the plain ones, else the one that is there."""
    for name in WEIGHT_NAMES:
        for stem in (*([f"{name}.{variant}"] if variant else []), name):
            if (folder / f"{stem}.safetensors").is_file():
                return [folder / f"{stem}.safetensors"]
        indexes = (f"{name}.safetensors.index.{variant}.json", f"{name}.safetensors.index.json")
        for index in indexes if variant else indexes[1:]:
            if (folder / index).is_file():
                names = sorted(set(read_json(folder / index)["weight_map"].values()))
                return [folder / name for name in names]
    other = sorted(folder.glob("*.safetensors"))
    if len(other) == 1:
        return other
    if list(folder.glob("*.bin")) and not other:
        message = f"{folder.name} has only pickled weights (.bin); convert them to safetensors."
        raise RenderFailed(code="model_unreadable", message=message)
    raise RenderFailed(code="model_missing", message=f"{folder.name} of {folder.parent.name} has no weights.")


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        message = f"{path.name} is missing in {path.parent.name}."
        raise RenderFailed(code="model_missing", message=message) from error
    except (OSError, ValueError) as error:
        message = f"{path.name} of {path.parent.name} cannot be read: {type(error).__name__}."
        raise RenderFailed(code="model_unreadable", message=message) from error
    if not isinstance(content, dict):
        message = f"{path.name} of {path.parent.name} holds no object."
        raise RenderFailed(code="model_unreadable", message=message)
    return content


def header(path: Path) -> dict[str, tuple[int, ...]]:
    """The names and shapes in a safetensors file."""
    try:
        return {name: tuple(entry["shape"]) for name, entry in _raw_header(path).items() if name != "__metadata__"}
    except FileNotFoundError as error:
        raise RenderFailed(code="model_missing", message=f"{path.name} is missing.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise RenderFailed(code="model_unreadable", message=f"{path.name} is no intact safetensors file.") from error


def _raw_header(path: Path) -> dict[str, Any]:
    """The format's first 8 bytes tell the length of the JSON that follows."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > HEADER_MAX_BYTES:
            raise ValueError(f"A header of {length} bytes is too long.")
        entries: dict[str, Any] = json.loads(file.read(length))
    return entries


def lora_metadata(path: Path) -> dict[str, Any]:
    """What newer diffusers write about a LoRA into the header: rank and alpha by component."""
    if path.suffix != ".safetensors":
        return {}
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, struct.error):
        told = json.loads(_raw_header(path).get("__metadata__", {}).get("lora_adapter_metadata", "{}"))
        return told if isinstance(told, dict) else {}
    return {}


def estimate_bytes(path: Path, item_bytes: int, variant: str | None = None) -> int:
    """What a model will take in memory at `item_bytes` per number, from headers alone."""
    if path.is_file():
        files = [path]
    elif (path / "model_index.json").is_file():
        index = read_json(path / "model_index.json")
        parts = [path / name for name in index if (path / name / "config.json").is_file()]
        files = [file for part in parts for file in weight_files(part, variant)]
    else:
        files = weight_files(path, variant)
    if any(file.suffix != ".safetensors" for file in files):
        return sum(file.stat().st_size for file in files)
    return item_bytes * sum(_count(shape) for file in files for shape in header(file).values())


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
