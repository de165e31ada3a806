"""The render engine: a RenderSpec and pictures in, pictures out. It knows nothing of Django, of money or of people.

Importing this package is cheap: `Engine` brings torch and diffusers along only when it is asked for, because the web
process imports `inference.engine.spec` and must never import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.engine.errors import RenderFailed
from inference.engine.outputs import EngineImage, EngineOutput, EngineStatus
from inference.engine.settings import EngineSettings

if TYPE_CHECKING:
    from inference.engine.engine import Engine, Job

__all__ = ["Engine", "EngineImage", "EngineOutput", "EngineSettings", "EngineStatus", "Job", "RenderFailed"]


def __getattr__(name: str) -> Any:
    if name in ("Engine", "Job"):
        from inference.engine import engine

        return getattr(engine, name)
    raise AttributeError(name)
