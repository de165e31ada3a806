"""What each kind of generation takes and what it assumes: the differences between the routes, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inference.engine.spec import Operation

DRAWING = frozenset({Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE, Operation.INPAINT, Operation.OUTPAINT})
# "model": the model's own size, in the picture's shape where there is a picture; "image": the picture's own size.
SizeFrom = Literal["model", "image"] | tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of generation. Names are those of the API's fields; the first of `init` is the one that errors name.

    `steps` and `guidance_scale` None are the model's own; a `guidance_scale` holds for models without one of their own
    (see sampling.guidance_default). `single_output`: the reply's output is one text, as the
    older upscaling routes had it.
    """

    operation: Operation
    init: tuple[str, ...] = ()
    init_images_max: int = 1
    mask: tuple[str, ...] = ()
    prompt_needed: bool = True
    prompt: str = ""
    negative_prompt: str = ""
    control_needed: bool = False
    size: SizeFrom = "model"
    steps: int | None = None
    guidance_scale: float | None = None
    strength: float = 0.7
    temp: bool = False
    single_output: bool = False

    @property
    def draws(self) -> bool:
        """Whether it goes through the denoising steps; the others work on the picture as it is."""
        return self.operation in DRAWING


INIT = ("init_image", "image", "init_images")
MASK = ("mask_image", "mask")

TEXT_TO_IMAGE = Profile(operation=Operation.TEXT_TO_IMAGE)
IMAGE_TO_IMAGE = Profile(operation=Operation.IMAGE_TO_IMAGE, init=INIT, init_images_max=10)
INPAINT = Profile(operation=Operation.INPAINT, init=INIT, mask=MASK)
CONTROLNET = Profile(operation=Operation.TEXT_TO_IMAGE, control_needed=True, steps=30, strength=0.55)
EDIT_INPAINT = Profile(operation=Operation.INPAINT, init=INIT, mask=MASK, size="image", steps=30, guidance_scale=5.0)
OBJECT_REMOVAL = Profile(
    operation=Operation.INPAINT,
    init=INIT,
    mask=MASK,
    prompt_needed=False,
    prompt="empty background, seamless continuation of the surroundings",
    negative_prompt="object, person, text, watermark",
    size="image",
    strength=1.0,
)
OUTPAINT = Profile(
    operation=Operation.OUTPAINT,
    init=("image", "init_image"),
    prompt_needed=False,
    prompt="high quality",
    negative_prompt="low quality",
    size=(1280, 720),
    steps=10,
    guidance_scale=8.0,
    temp=True,
)
UPSCALE = Profile(operation=Operation.UPSCALE, init=("init_image", "image", "url"), prompt_needed=False, size="image")
UPSCALE_LEGACY = Profile(
    operation=Operation.UPSCALE,
    init=("url", "init_image", "image"),
    prompt_needed=False,
    size="image",
    single_output=True,
)
CHECK_SAFETY = Profile(
    operation=Operation.CHECK_SAFETY, init=("init_image", "image", "url"), prompt_needed=False, size="image"
)
REMOVE_BACKGROUND = Profile(
    operation=Operation.REMOVE_BACKGROUND, init=("image", "init_image", "url"), prompt_needed=False, size="image"
)
CREATE_MASK = Profile(
    operation=Operation.CREATE_MASK, init=("image", "init_image", "url"), prompt_needed=False, size="image"
)
