"""What may be taken for a model: names that stay inside the model folder, weights that are whole .safetensors files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from django.conf import settings
from safetensors import SafetensorError, safe_open

SUFFIX = ".safetensors"
INDEX = "model_index.json"
_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_CHUNK_BYTES = 1 << 20


class ImportFailed(Exception):
    """Why a model cannot be brought in, in words for the operator."""


def model_folder() -> Path:
    return Path(settings.MODEL_DIR).resolve()


def inside(name: str) -> Path:
    """The path of that name in the model folder. Raises ImportFailed when it leads outside or to nothing."""
    path = (model_folder() / name).resolve()
    if not path.is_relative_to(model_folder()) or path == model_folder():
        raise ImportFailed(f"{name!r} is not inside the model folder.")
    if not path.exists():
        raise ImportFailed(f"There is no {name!r} in the model folder {model_folder()}.")
    return path


def safe_name(text: str) -> str:
    """A file name that says what `text` says."""
    return _UNSAFE_NAME.sub("-", text).strip("-.") or "model"


def weights_checked(path: Path) -> None:
    """Raises ImportFailed unless it is a whole .safetensors file: its header is read and held against its size."""
    if path.suffix != SUFFIX:
        raise ImportFailed(f"{path.name} is not a {SUFFIX} file: other formats can run code when they are read.")
    try:
        with safe_open(path, framework="numpy") as file:
            empty = not list(file.keys())
    except (SafetensorError, OSError, ValueError) as problem:
        raise ImportFailed(f"{path.name} is no whole {SUFFIX} file: {problem}.") from None
    if empty:
        raise ImportFailed(f"{path.name} holds no tensor.")


def folder_weights(folder: Path) -> list[Path]:
    """The weight files of a diffusers folder, each checked. Raises ImportFailed."""
    if not (folder / INDEX).is_file():
        raise ImportFailed(f"{folder.name} has no {INDEX}: it is no diffusers folder.")
    found = sorted(folder.rglob(f"*{SUFFIX}"))
    if not found:
        raise ImportFailed(f"{folder.name} has no {SUFFIX} file: pickled weights are not taken.")
    for path in found:
        weights_checked(path)
    return found


def sha256_of(paths: Iterable[Path], *, read: Callable[[int], object]) -> str:
    """The digest of all files, one after the other; `read` is told how many bytes each piece had."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                read(len(chunk))
    return digest.hexdigest()
