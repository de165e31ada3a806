"""Keeps the preprocessors' networks that were loaded from one model folder, so that a hint costs a forward only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from inference.engine.errors import RenderFailed

FOLDER = "preprocessors"


class Shelf:
    """Places under `<model folder>/preprocessors` and what was loaded from them. Not for several threads at once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, Path], Any] = {}
        self._root, self.device = Path(), "cpu"

    def at(self, model_dir: Path, device: str) -> Self:
        self._root, self.device = model_dir / FOLDER, device
        return self

    def clear(self) -> None:
        self._loaded.clear()

    def find(self, name: str) -> Path | None:
        """The file or folder of this name; for a .pth file its .safetensors form counts too."""
        wanted = self._root / name
        for place in (wanted.with_suffix(".safetensors"), wanted) if wanted.suffix else (wanted / "config.json",):
            if place.is_file():
                return place if wanted.suffix else wanted
        return None

    def load(self, name: str, build: Callable[[Path, str], Any], *, kind: str, what: str) -> Any:
        """The network in `name`, built at most once per device. `what` tells the operator which one to add."""
        place = self.find(name)
        if place is None:
            message = (
                f"controlnet_model {kind}: its preprocessor is not installed. Add {what} as {FOLDER}/{name} to the "
                "model folder, or send a ready control_image with auto_hint off."
            )
            raise RenderFailed(code="preprocessor_missing", message=message)
        key = (self.device, place)
        if key not in self._loaded:
            self._loaded[key] = build(place, self.device)
        return self._loaded[key]
