"""The demo model's world: what is drawn is what the caption says, and what the measurement reads back."""

import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw

from inference.demo import score
from inference.demo.draw import (
    COLOURS,
    SHAPES,
    TRAINING_SCENES,
    Scene,
    caption,
    empty_caption,
    picture,
    plain_caption,
    scene_draw,
    scenes,
)
from inference.demo.measure import reading

HELD_OUT = scenes(held_out=True)


def drawn(scene: Scene, seed: int = 0) -> Image.Image:
    return picture(scene, random.Random(seed), 256)


def test_about_a_tenth_of_the_scenes_is_held_out_and_none_of_it_is_trained_on():
    assert not set(HELD_OUT) & set(TRAINING_SCENES)
    assert 0.08 < len(HELD_OUT) / (len(HELD_OUT) + len(TRAINING_SCENES)) < 0.12


def test_training_never_draws_a_held_out_scene():
    rng = random.Random(0)
    assert not any(scene_draw(rng).is_held_out() for _ in range(2000))


def test_the_score_asks_for_every_shape_size_and_place_that_is_taught():
    rng = random.Random(0)
    told, asked = [scene_draw(rng) for _ in range(2000)], score.scenes_ask(500)
    for aspect in ("shape", "colour", "background", "size", "position"):
        assert {getattr(scene, aspect) for scene in told} == {getattr(scene, aspect) for scene in asked}


def test_every_shape_and_colour_is_both_trained_and_held_out():
    for part in (TRAINING_SCENES, HELD_OUT):
        assert {scene.shape for scene in part} == set(SHAPES)
        assert {scene.colour for scene in part} == set(COLOURS)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_drawing_is_read_back_as_what_was_asked(shape):
    for seed, scene in enumerate(random.Random(1).sample([scene for scene in HELD_OUT if scene.shape == shape], 12)):
        seen = reading(drawn(scene, seed))
        assert (seen.shape, seen.colour, seen.background) == (shape, scene.colour, scene.background)
        assert seen.position == scene.position


def test_the_plain_caption_names_every_part_of_the_scene():
    scene = Scene("star", "yellow", "purple", "small", "at the top")
    assert plain_caption(scene) == "a small yellow star at the top on a purple background"


def test_captions_differ_in_words_but_leave_out_the_background_only_when_it_is_white():
    rng = random.Random(0)
    on_blue = {caption(Scene("heart", "red", "blue"), rng) for _ in range(200)}
    assert len(on_blue) > 100
    assert all(any(word in text for word in ("blue", "navy", "azure")) for text in on_blue)
    on_white = Counter("white" in caption(Scene("heart", "red", "white"), rng) for _ in range(200))
    assert on_white[False] > 20


def test_an_empty_caption_names_no_shape():
    rng = random.Random(0)
    assert not any(shape in empty_caption(rng).split() for shape in SHAPES for _ in range(50))


class TestMeasurement:
    def test_a_flat_picture_shows_no_object(self):
        seen = reading(Image.new("RGB", (128, 128), COLOURS["green"]))
        assert seen.background == "green"
        assert seen.colour is seen.shape is seen.position is None

    def test_noise_is_no_shape(self):
        noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
        assert reading(Image.fromarray(noise)).shape is None

    def test_a_blob_is_no_shape(self):
        image = Image.new("RGB", (256, 256), COLOURS["blue"])
        paint = ImageDraw.Draw(image)
        for x, y, radius in ((60, 60, 25), (120, 90, 30), (170, 180, 40), (130, 130, 30)):
            paint.circle((x, y), radius, fill=COLOURS["red"])
        seen = reading(image)
        assert seen.colour == "red"
        assert seen.shape is None

    def test_a_score_counts_each_aspect_on_its_own(self):
        asked = Scene("circle", "red", "blue")
        shown = [drawn(asked), drawn(Scene("square", "red", "blue")), drawn(Scene("circle", "green", "white"))]
        found = score.shares([asked] * 3, shown)
        assert (found["shape"], found["colour"], found["background"]) == (0.667, 0.667, 0.667)
        assert found["all"] == 0.333

    def test_the_same_captions_are_asked_every_time(self):
        assert score.scenes_ask(20) == score.scenes_ask(20)
        assert all(scene.is_held_out() for scene in score.scenes_ask(100))
        assert sum(scene.is_plain() for scene in score.scenes_ask(100)) >= 50
