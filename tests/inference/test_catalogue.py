"""The seeded catalogue: what a second load leaves alone, and the words that follow the shipped model."""

from __future__ import annotations

import pytest

from inference.catalogue import FORMER, RANDOM, TRAINED, catalogue_seed
from inference.models import ImageModel

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("catalogue")]


def described(text: str) -> str:
    """What the demo model's row says after a load that found `text` there."""
    ImageModel.objects.filter(model_id="demo").update(description=text, name="Mine")
    catalogue_seed()
    row = ImageModel.objects.get(model_id="demo")
    assert row.name == "Mine"
    return row.description


@pytest.mark.parametrize("text", [*FORMER, RANDOM])
def test_a_former_description_of_ours_becomes_today_s(text: str) -> None:
    assert described(text) == TRAINED


@pytest.mark.parametrize("text", ["", "Our house model.", FORMER[0] + " And fast."])
def test_an_operator_s_own_stays(text: str) -> None:
    assert described(text) == text


def test_a_complete_catalogue_is_left_alone() -> None:
    assert catalogue_seed() == 0


def test_another_model_under_that_name_keeps_its_words() -> None:
    ImageModel.objects.filter(model_id="demo").update(source="/models/ours")
    assert described(FORMER[0]) == FORMER[0]
