"""The demo model's world: what is drawn is what the caption says, and what the measurement reads back."""

import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageDraw

from inference.demo import score
from inference.demo.draw import (
    COLOURS,
    PAIR_FORMS,
    SHAPES,
    TRAINING_SCENES,
    Scene,
    Thing,
    caption,
    empty_caption,
    pair_draw,
    picture,
    plain_caption,
    scene_draw,
    scenes,
)
from inference.demo.measure import reading
from inference.engine.prompts import STYLES

HELD_OUT = scenes(held_out=True)


def drawn(scene: Scene, seed: int = 0) -> Image.Image:
    return picture(scene, random.Random(seed), 256)


def test_about_a_tenth_of_the_scenes_is_held_out_and_none_of_it_is_trained_on():
    assert not set(HELD_OUT) & set(TRAINING_SCENES)
    assert 0.08 < len(HELD_OUT) / (len(HELD_OUT) + len(TRAINING_SCENES)) < 0.12


def test_training_never_draws_a_held_out_scene():
    rng = random.Random(0)
    told = [scene_draw(rng) for _ in range(2000)]
    assert not any(scene.is_held_out() for scene in told)
    assert 0.3 < sum(scene.other is not None for scene in told) / len(told) < 0.5


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


@pytest.mark.parametrize("place", PAIR_FORMS)
def test_two_objects_are_read_back_where_they_were_asked_for(place):
    rng = random.Random(2)
    asked = [scene for scene in (pair_draw(rng, held_out=True) for _ in range(60)) if scene.position == place]
    assert len(asked) > 15
    for scene in asked:
        seen = reading(drawn(scene))
        assert (seen.position, seen.colour, seen.shape) == (place, scene.colour, scene.shape)
        assert seen.other is not None
        assert Thing(seen.other.shape, seen.other.colour) == scene.other


@pytest.mark.parametrize("sides", [(384, 192), (192, 384)])
def test_oblong_pictures_show_the_same_and_no_shape_is_stretched(sides):
    rng = random.Random(3)
    for scene in [*(scene for scene in rng.sample(HELD_OUT, 30)), *(pair_draw(rng, held_out=True) for _ in range(15))]:
        image = picture(scene, rng, *sides)
        assert image.size == sides
        seen = reading(image)
        assert (seen.shape, seen.colour, seen.position) == (scene.shape, scene.colour, scene.position), scene
    circle = (
        picture(Scene("circle", "black", "white"), rng, *sides).convert("L").point(lambda value: 255 * (value < 128))
    )
    left, top, right, bottom = circle.getbbox()
    assert abs((right - left) - (bottom - top)) <= 2


def test_the_plain_caption_of_two_objects_says_which_is_where():
    beside = Scene("star", "yellow", "purple", position="on the left", other=Thing("ring", "orange"))
    assert plain_caption(beside) == "a yellow star and an orange ring on a purple background"
    above = Scene("star", "yellow", "orange", position="at the top", other=Thing("ring", "white"))
    assert plain_caption(above) == "a yellow star above a white ring on an orange background"


def test_every_caption_of_two_objects_names_both():
    rng = random.Random(0)
    for place in PAIR_FORMS:
        scene = Scene("heart", "black", "white", position=place, other=Thing("star", "purple"))
        for text in (caption(scene, rng) for _ in range(100)):
            assert "heart" in text
            assert "star" in text
            assert any(word in text for word in ("purple", "violet"))


def test_captions_come_with_the_words_of_every_style_of_enhancement():
    rng = random.Random(0)
    told = [caption(Scene("heart", "red", "blue"), rng) for _ in range(5000)]
    for phrases in STYLES.values():
        assert any(text.endswith(", ".join(phrases)) for text in told), phrases


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

    def test_colours_and_shapes_are_counted_once_for_each_object(self):
        asked = Scene("circle", "red", "blue", position="on the left", other=Thing("square", "green"))
        swapped = Scene("square", "green", "blue", position="on the left", other=Thing("square", "red"))
        found = score.shares([asked, asked], [drawn(asked), drawn(swapped)])
        assert (found["colour"], found["shape"], found["position"], found["all"]) == (0.5, 0.75, 1, 0.5)

    def test_one_object_where_two_were_asked_for_is_one_too_few(self):
        asked = Scene("circle", "red", "blue", position="on the left", other=Thing("square", "green"))
        found = score.shares([asked], [drawn(Scene("circle", "red", "blue", position="on the left"))])
        assert (found["colour"], found["shape"], found["position"]) == (0.5, 0.5, 0)

    def test_two_objects_where_one_was_asked_for_are_one_too_many(self):
        asked = Scene("circle", "red", "blue", position="on the left")
        shown = Scene("circle", "red", "blue", position="on the left", other=Thing("square", "green"))
        assert score.shares([asked], [drawn(shown)])["position"] == 0

    def test_it_passes_only_when_both_kinds_do(self):
        two = Scene("circle", "red", "blue", position="on the left", other=Thing("square", "green"))
        one = Scene("circle", "red", "blue")
        good = score.shares_by_kind([one, two], [drawn(one), drawn(two)])
        assert score.passes(good)
        assert not score.passes(score.shares_by_kind([one, two], [drawn(one), drawn(one)]))

    def test_the_same_captions_are_asked_every_time(self):
        assert score.scenes_ask(20) == score.scenes_ask(20)
        assert all(scene.is_held_out() for scene in score.scenes_ask(100))
        assert sum(scene.is_plain() for scene in score.scenes_ask(99)) >= 33
        assert sum(scene.other is not None for scene in score.scenes_ask(99)) == 33
