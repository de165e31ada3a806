"""API keys as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import keys


def test_a_minted_key_parses_to_itself():
    minted = keys.mint(prefix="img")
    assert keys.parse(minted.text) == minted
    assert minted.text.startswith("img_live_")


def test_two_keys_differ():
    assert keys.mint(prefix="img").text != keys.mint(prefix="img").text


@given(st.integers(min_value=0, max_value=58), st.sampled_from(keys.ALPHABET))
def test_one_changed_character_is_refused_without_a_query(position, character):
    text = keys.mint(prefix="img").text
    changed = text[:position] + character + text[position + 1 :]
    assert changed == text or keys.parse(changed) is None


@pytest.mark.parametrize("text", ["", "img", "img_live_", "x" * 500, "img_live_" + "é" * 50, "img_live_abc\n"])
def test_what_is_no_key_is_refused(text):
    assert keys.parse(text) is None


def test_only_the_right_pepper_verifies():
    text = keys.mint(prefix="img").text
    stored = keys.digest(text, pepper="one")
    assert keys.verify(text, stored, pepper="one")
    assert not keys.verify(text, stored, pepper="two")
    assert text not in stored


def test_a_key_never_shows_itself():
    minted = keys.mint(prefix="img")
    assert minted.text not in repr(minted)
