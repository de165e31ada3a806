"""The architectures that the engine knows: one small module each, over the contract in `base`."""

from __future__ import annotations

from inference.engine.families.base import Condition, Family, Model, Sample
from inference.engine.families.registry import family_of

__all__ = ["Condition", "Family", "Model", "Sample", "family_of"]
