"""Enhancement that can be foreseen, and blocked words that are found as words."""

import subprocess
import sys

import pytest

from inference.engine import prompts


def test_adds_the_words_of_the_style_behind_the_users_own():
    enhanced = prompts.enhance("a red fox", "watercolor")
    assert enhanced.startswith("a red fox, watercolor painting, ")
    assert "paper texture" in enhanced


def test_the_same_prompt_and_style_give_the_same_words():
    assert prompts.enhance("a red fox", "anime") == prompts.enhance("a red fox", "anime")


@pytest.mark.parametrize("style", [None, *prompts.STYLES])
def test_applying_a_style_twice_changes_nothing_more(style):
    once = prompts.enhance("a red fox in the snow", style)
    assert once != "a red fox in the snow"
    assert prompts.enhance(once, style) == once


def test_words_that_are_there_already_are_not_repeated():
    assert prompts.enhance("a fox, SHARP focus", "enhance").lower().count("sharp focus") == 1


def test_a_style_is_known_in_any_spelling():
    assert (
        prompts.enhance("a fox", "Pop Art")
        == prompts.enhance("a fox", "pop-art")
        == prompts.enhance("a fox", "pop_art")
    )


def test_an_unknown_style_counts_as_the_default_and_the_reply_says_so():
    assert prompts.enhance("a fox", "quux") == prompts.enhance("a fox", None)
    note = prompts.style_note("quux")
    assert note is not None
    assert "'quux'" in note
    assert prompts.style_note("anime") is None
    assert prompts.style_note(None) is None


def test_an_empty_prompt_stays_empty():
    assert prompts.enhance("", "anime") == ""
    assert prompts.enhance("   ", "anime") == "   "


def test_a_long_prompt_is_not_pushed_out_by_added_words():
    long = " ".join(f"word{number}" for number in range(60))
    assert prompts.enhance(long, "anime") == long
    nearly = " ".join(f"word{number}" for number in range(52))
    assert len(prompts.enhance(nearly, "anime").split()) <= prompts.WORDS_MAX


@pytest.mark.parametrize("prompt", ["a naked man", "NAKED!", "a (naked:1.3) man", "naked_man", "a na\u00adked man"])
def test_a_blocked_word_is_found_however_it_is_dressed(prompt):
    assert prompts.blocked(prompt, ["gore", "Naked"]) == "Naked"


@pytest.mark.parametrize(
    "prompt", ["n\u0101k\u00e9d", "\uff4e\uff41\uff4b\uff45\uff44", "na\u200bked", "nak\u0065\u0301d"]
)
def test_accents_wide_letters_and_invisible_characters_do_not_hide_it(prompt):
    assert prompts.blocked(prompt, ["naked"]) == "naked"


@pytest.mark.parametrize("prompt", ["a snaked river", "nakedness", "the na ked", ""])
def test_parts_of_words_are_not_words(prompt):
    assert prompts.blocked(prompt, ["naked"]) is None


def test_terms_of_several_words_match_across_any_space_and_punctuation():
    assert prompts.blocked("a dead,  body on stage", ["dead body"]) == "dead body"
    assert prompts.blocked("a dead man's body", ["dead body"]) is None


def test_vowel_signs_are_part_of_indian_words():
    assert prompts.blocked("हिन्दी में चित्र", ["हिन्दी"]) == "हिन्दी"
    assert prompts.blocked("हिन्दी में चित्र", ["हिन"]) is None
    assert prompts.blocked("कुल", ["कल"]) is None


def test_terms_in_scripts_without_spaces_match_anywhere():
    assert prompts.blocked("一幅裸体画像", ["裸体"]) == "裸体"


def test_empty_terms_block_nothing():
    assert prompts.blocked("anything", ["", " - "]) is None


def test_the_first_term_of_the_list_is_named():
    assert prompts.blocked("blood and gore", ["gore", "blood"]) == "gore"


def test_checking_words_does_not_load_torch():
    code = "import sys; import inference.engine.prompts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
