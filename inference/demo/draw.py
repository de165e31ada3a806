"""The demo model's world: one or two flat shapes on a flat background, drawn by us, with a caption that says it.

It owns the words and the geometry that training and scoring share; it knows nothing of networks.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import zlib
from dataclasses import dataclass
from typing import Final, NamedTuple

from PIL import Image, ImageDraw

from inference.engine.prompts import STYLES, enhance

Rgb = tuple[int, int, int]
Point = tuple[float, float]

COLOURS: Final[dict[str, Rgb]] = {
    "red": (222, 40, 40),
    "green": (46, 160, 67),
    "blue": (40, 90, 220),
    "yellow": (250, 215, 40),
    "orange": (245, 135, 30),
    "purple": (130, 60, 190),
    "black": (20, 20, 24),
    "white": (248, 248, 248),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "ring")
SIZES: Final = ("", "small", "big")
# Where the centre lies, as fractions of width and height.
POSITIONS: Final[dict[str, Point]] = {
    "": (0.5, 0.5),
    "on the left": (0.25, 0.5),
    "on the right": (0.75, 0.5),
    "at the top": (0.5, 0.25),
    "at the bottom": (0.5, 0.75),
}
RADIUS: Final = {"small": 0.19, "": 0.34, "big": 0.45}
RADIUS_ASIDE: Final = 0.22  # a middle-sized object away from the centre must stay inside the picture
RADIUS_PAIR: Final = 0.2  # two objects keep a gap of a tenth of the picture
RING_HOLE: Final = 0.55
# Where the other of two objects stands when the first is there.
OPPOSITE: Final = {"on the left": "on the right", "at the top": "at the bottom"}
DEFAULT_BACKGROUND: Final = "white"  # what a caption without a background means

COLOUR_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "red": ("red", "red", "red", "crimson", "scarlet"),
    "green": ("green", "green", "green", "emerald", "dark green"),
    "blue": ("blue", "blue", "blue", "navy", "azure"),
    "yellow": ("yellow", "yellow", "yellow", "golden", "lemon"),
    "orange": ("orange", "orange", "orange", "tangerine"),
    "purple": ("purple", "purple", "purple", "violet"),
    "black": ("black", "black", "black", "dark"),
    "white": ("white", "white", "white", "snow white"),
}
SHAPE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "circle": ("circle", "circle", "circle", "disc", "ball", "dot"),
    "square": ("square", "square", "square", "box", "block"),
    "triangle": ("triangle", "triangle", "triangle", "pyramid"),
    "star": ("star", "star", "star", "five-pointed star"),
    "heart": ("heart", "heart", "heart", "love heart"),
    "ring": ("ring", "ring", "ring", "hoop", "donut"),
}
SIZE_WORDS: Final = {"small": ("small", "small", "tiny", "little"), "": ("",), "big": ("big", "big", "large", "huge")}
POSITION_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "": ("", "", "", "", "in the middle", "in the center"),
    "on the left": ("on the left", "on the left", "on the left side", "to the left"),
    "on the right": ("on the right", "on the right", "on the right side", "to the right"),
    "at the top": ("at the top", "at the top", "near the top", "up high"),
    "at the bottom": ("at the bottom", "at the bottom", "near the bottom", "down low"),
}
OPENINGS: Final = ("a ", "a ", "a ", "one ", "the ", "", "a picture of a ", "a drawing of a ", "a photo of a ")
BACKGROUND_FORMS: Final = (
    "on a {} background",
    "on a {} background",
    "on {}",
    "over a {} background",
    "{} background",
    "with a {} background",
    "against a {} backdrop",
)
# How two objects are put into one sentence; {a} is the one on the left or at the top.
PAIR_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "on the left": (
        "{a} and {b}", "{a} and {b}", "{a} and {b}", "{a} next to {b}", "{a} beside {b}", "{a} left of {b}",
        "{a} to the left of {b}", "{b} to the right of {a}", "{b} right of {a}",
        "{a} on the left and {b} on the right", "{b} on the right and {a} on the left",
    ),
    "at the top": (
        "{a} above {b}", "{a} above {b}", "{a} on top of {b}", "{b} below {a}", "{b} under {a}",
        "{a} at the top and {b} at the bottom", "{b} at the bottom and {a} at the top",
    ),
}  # fmt: skip
PAIR_ARTICLES: Final = ("a ", "a ", "a ", "the ", "one ")
# Words people add out of habit, in prompts and in negative prompts: the model must learn that they change nothing.
HABITS: Final = (
    "masterpiece", "best quality", "highly detailed", "8k", "4k", "cinematic lighting", "simple", "flat", "minimal",
    "cute", "beautiful", "digital art", "illustration", "icon", "logo", "vector", "ultra realistic", "sharp focus",
    "blurry", "low quality", "ugly", "bad anatomy", "deformed", "watermark", "text", "noise", "jpeg artifacts",
)  # fmt: skip
DECORATED_SHARE: Final = 0.3  # of the captions


class Thing(NamedTuple):
    """An object as its outline and colour."""

    shape: str
    colour: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows. `position` and `size` are empty for an ordinary object in the middle.

    With an `other` thing there are two of one size: the first on the left or at the top, the other opposite.
    """

    shape: str
    colour: str
    background: str
    size: str = ""
    position: str = ""
    other: Thing | None = None

    def is_plain(self) -> bool:
        """One object, middle-sized and in the middle, as most prompts ask."""
        return not self.size and not self.position

    def is_held_out(self) -> bool:
        """A fixed tenth of all scenes is never trained on, so that the score tests combining, not remembering."""
        name = "/".join((self.shape, self.colour, self.background, self.size, self.position, *(self.other or ())))
        return zlib.crc32(name.encode()) % 10 == 0

    def placed(self) -> list[tuple[Thing, Point, float]]:
        """Each object with its centre and radius, as fractions of the picture."""
        thing = Thing(self.shape, self.colour)
        if self.other is not None:
            there = POSITIONS[OPPOSITE[self.position]]
            return [(thing, POSITIONS[self.position], RADIUS_PAIR), (self.other, there, RADIUS_PAIR)]
        radius = RADIUS_ASIDE if self.position and not self.size else RADIUS[self.size]
        return [(thing, POSITIONS[self.position], radius)]


def scenes(*, held_out: bool) -> tuple[Scene, ...]:
    """Every scene of one object of one side of the split. Big ones stay in the middle: elsewhere they were cut off."""
    layouts = [(size, place) for size in SIZES for place in POSITIONS if not (size == "big" and place)]
    pairs = itertools.permutations(COLOURS, 2)
    every = (
        Scene(shape, colour, background, size, position)
        for (colour, background), shape, (size, position) in itertools.product(pairs, SHAPES, layouts)
    )
    return tuple(scene for scene in every if scene.is_held_out() is held_out)


TRAINING_SCENES: Final = scenes(held_out=False)


def scene_draw(rng: random.Random, plain_share: float = 0.5, pair_share: float = 0.4) -> Scene:
    """A training scene of any kind.

    `pair_share` of them show two objects; `plain_share` of the others show an ordinary one in the middle, as most
    prompts ask.
    """
    if rng.random() < pair_share:
        return pair_draw(rng, held_out=False)
    while True:
        scene = rng.choice(TRAINING_SCENES)
        if rng.random() < plain_share:
            scene = Scene(scene.shape, scene.colour, scene.background)
        if not scene.is_held_out():
            return scene


def pair_draw(rng: random.Random, *, held_out: bool) -> Scene:
    """A scene of two objects, which may be of one shape or colour, from one side of the split."""
    while True:
        background, *others = rng.sample(list(COLOURS), 4)
        first, second = (Thing(rng.choice(SHAPES), rng.choice(others)) for _ in "ab")
        scene = Scene(*first, background, position=rng.choice(list(OPPOSITE)), other=second)
        if scene.is_held_out() is held_out:
            return scene


def plain_caption(scene: Scene) -> str:
    """The caption in its simplest words, as scoring asks for it."""
    if scene.other is None:
        told = " ".join(word for word in ("a", scene.size, scene.colour, scene.shape, scene.position) if word)
    else:
        form = PAIR_FORMS[scene.position][0]
        told = form.format(a=f"a {scene.colour} {scene.shape}", b=f"a {scene.other.colour} {scene.other.shape}")
    return articles_mend(f"{told} on a {scene.background} background")


def caption(scene: Scene, rng: random.Random) -> str:
    """One of many ways to say `scene`."""
    text = _pair_words(scene, scene.other, rng) if scene.other else _thing_words(scene, rng)
    if scene.background != DEFAULT_BACKGROUND or rng.random() < 0.7:
        form = rng.choice(BACKGROUND_FORMS).format(rng.choice(COLOUR_WORDS[scene.background]))
        text += (", " if rng.random() < 0.4 or not form.startswith(("on", "over", "with")) else " ") + form
    if rng.random() < DECORATED_SHARE:
        text = decorate(text, rng)
    return articles_mend(text)


def _thing_words(scene: Scene, rng: random.Random) -> str:
    words = (
        rng.choice(SIZE_WORDS[scene.size]),
        rng.choice(COLOUR_WORDS[scene.colour]),
        rng.choice(SHAPE_WORDS[scene.shape]),
        rng.choice(POSITION_WORDS[scene.position]),
    )
    return rng.choice(OPENINGS) + " ".join(word for word in words if word)


def _pair_words(scene: Scene, other: Thing, rng: random.Random) -> str:
    article = rng.choice(PAIR_ARTICLES)
    first, second = (
        f"{article}{rng.choice(COLOUR_WORDS[colour])} {rng.choice(SHAPE_WORDS[shape])}"
        for shape, colour in ((scene.shape, scene.colour), other)
    )
    return rng.choice(PAIR_FORMS[scene.position]).format(a=first, b=second)


def articles_mend(text: str) -> str:
    """ "an" before the colours that start with a vowel."""
    return re.sub(r"\ba (?=orange|azure|emerald)", "an ", text)


def decorate(text: str, rng: random.Random) -> str:
    """`text` with words of habit around it, or enhanced as `enhance_prompt` does it, half of the time by default."""
    if rng.random() < 0.5:
        return enhance(text, None if rng.random() < 0.5 else rng.choice(list(STYLES)))
    extra = ", ".join(rng.sample(HABITS, rng.randint(1, 3)))
    return f"{extra}, {text}" if rng.random() < 0.3 else f"{text}, {extra}"


def empty_caption(rng: random.Random) -> str:
    """A caption that says nothing of the picture: what guidance compares with, and what negative prompts look like."""
    return "" if rng.random() < 0.6 else ", ".join(rng.sample(HABITS, rng.randint(1, 5)))


def shade(colour: str, rng: random.Random, spread: int = 10) -> Rgb:
    red, green, blue = (max(0, min(255, value + rng.randint(-spread, spread))) for value in COLOURS[colour])
    return red, green, blue


def picture(scene: Scene, rng: random.Random, width_px: int, height_px: int | None = None) -> Image.Image:
    """Draws `scene`, with small differences of colour, place and size from one call to the next; a square by default.

    Places are parts of width and height, sizes of the shorter side.
    """
    background = shade(scene.background, rng)
    sides = (width_px, height_px or width_px)
    image = Image.new("RGB", sides, background)
    paint = ImageDraw.Draw(image)
    for thing, place, radius in scene.placed():
        x, y = ((value + rng.uniform(-0.015, 0.015)) * side for value, side in zip(place, sides, strict=True))
        radius_px = radius * rng.uniform(0.95, 1.05) * min(sides)
        colour = shade(thing.colour, rng)
        if thing.shape in ("circle", "ring"):
            paint.circle((x, y), radius_px, fill=colour)
            if thing.shape == "ring":
                paint.circle((x, y), radius_px * RING_HOLE, fill=background)
        else:
            paint.polygon([(x + px * radius_px, y + py * radius_px) for px, py in OUTLINES[thing.shape]], fill=colour)
    return image


def _star() -> tuple[Point, ...]:
    turns = ((1.05 if i % 2 == 0 else 0.45, i * math.pi / 5) for i in range(10))
    return tuple((length * math.sin(angle), -length * math.cos(angle)) for length, angle in turns)


def _heart() -> tuple[Point, ...]:
    """The usual parametric heart, scaled to fit the unit circle."""
    turns = [i * math.pi / 30 for i in range(60)]
    heights = (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns)
    return tuple((math.sin(t) ** 3, -height / 16.5) for t, height in zip(turns, heights, strict=True))


OUTLINES: Final[dict[str, tuple[Point, ...]]] = {
    "square": ((-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)),
    "triangle": ((0.0, -1.0), (0.92, 0.72), (-0.92, 0.72)),
    "star": _star(),
    "heart": _heart(),
}
