"""The data of drawing: a loaded model, one picture under way (Sample), and the rows of one forward (Batch)."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.engine.families.base import Family
    from inference.engine.families.dresses import Dress

Tensors = dict[str, torch.Tensor]


@dataclass(eq=False, slots=True)
class Model:
    """A loaded base model. `pipe` is the plain diffusers pipeline of its parts; nobody calls it, its helpers serve."""

    model_id: str
    family: Family
    pipe: Any
    device: torch.device
    dtype: torch.dtype
    variant: str = ""
    """The pipeline class that the model's folder names: it tells apart what the weights' layout cannot."""

    @property
    def denoiser(self) -> Any:
        return getattr(self.pipe, self.family.denoiser)

    @property
    def vae(self) -> Any:
        return self.pipe.vae

    @property
    def scale(self) -> int:
        """Pixels per latent, along a side."""
        return int(self.pipe.vae_scale_factor)


class Role(enum.Enum):
    """What a row's prediction is used for: the prompt's, that of the negative prompt, and the one to move away from."""

    NEGATIVE = "negative"
    POSITIVE = "positive"
    PERTURBED = "perturbed"


@dataclass(frozen=True, slots=True)
class Condition:
    """What one network row is told beside its latents: tensors with a leading dimension of 1, by name."""

    tensors: Tensors
    role: Role = Role.POSITIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a picture is told in words, and what decides how they are read. `size` is width and height in pixels."""

    prompt: str
    negative: str
    guidance: float
    clip_skip: int
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class View:
    """A window of the latents. Most samples are seen through one that shows everything."""

    top: int
    left: int
    height: int
    width: int

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:, :, self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(eq=False, slots=True, kw_only=True)
class Start:
    """What a sample starts from. Pictures have the final size already; the mask is white where to repaint."""

    width_px: int
    height_px: int
    seed: int
    steps: int
    guidance: float
    strength: float = 1.0
    scheduler: Any = None
    conditions: tuple[Condition, ...] = ()
    image: Image.Image | None = None
    mask: Image.Image | None = None
    latents: torch.Tensor | None = None
    vae: Any = None
    views: tuple[View, ...] = ()
    controls: tuple[Any, ...] = ()


@dataclass(eq=False, slots=True, kw_only=True)
class Sample:
    """One picture under way, with everything that belongs to it alone."""

    latents: torch.Tensor
    scheduler: Any
    timesteps: torch.Tensor
    step_arguments: dict[str, Any]
    guidance: float
    conditions: tuple[Condition, ...]
    size: tuple[int, int]
    vae: Any
    noise: torch.Tensor
    mask: torch.Tensor | None = None
    image_latents: torch.Tensor | None = None
    extra_channels: torch.Tensor | None = None
    reference: torch.Tensor | None = None
    controls: tuple[Any, ...] = ()
    loras: tuple[Any, ...] = ()
    dress: tuple[Dress, ...] = ()
    """What the network must wear for this sample; samples of different dresses never share a forward."""
    alone: Hashable = None
    pace: Hashable = None
    """Samples of equal pace at the same step may take the scheduler's step together; None takes it alone."""
    views: tuple[View, ...] = ()
    then: Callable[[Sample], Sample] | None = None
    """What comes after the last step: a second sample that goes on from this one."""
    steps_before: int = 0
    steps_after: int = 0
    step: int = 0
    estimate: torch.Tensor | None = None

    @property
    def steps(self) -> int:
        return len(self.timesteps)

    @property
    def progress(self) -> tuple[int, int]:
        """Step and steps of the whole picture, which may be made of two samples."""
        return self.steps_before + self.step, self.steps_before + self.steps + self.steps_after

    @property
    def rows(self) -> int:
        """Network rows of one step."""
        return len(self.conditions) * len(self.views)

    @property
    def done(self) -> bool:
        return self.step >= len(self.timesteps)

    @property
    def timestep(self) -> torch.Tensor:
        return self.timesteps[self.step]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a forward: a sample, seen through one of its windows, told one of its conditions."""

    sample: Sample
    condition: Condition
    view: View


@dataclass(eq=False, slots=True)
class Batch:
    """The rows of one forward and their tensors, in the same order."""

    rows: list[Row]
    latents: torch.Tensor
    timesteps: torch.Tensor
    told: Tensors
