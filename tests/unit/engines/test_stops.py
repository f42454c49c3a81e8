"""Where a sample's text ends."""

from __future__ import annotations

import pytest

from tests.tiny import make_tokenizer
from tracelift_ray.engines.stops import StopFinder, special_stops


def first_ending(tokenizer, prompt: str, text: str, stop: tuple[str, ...], until: str = "") -> tuple[int, str] | None:
    """Number of tokens and text of the sample, fed token by token."""
    finder = StopFinder(tokenizer, stop, until)
    prompt_ids, ids = tokenizer.encode(prompt), tokenizer.encode(text)
    for length in range(1, len(ids) + 1):
        found = finder.ending(prompt_ids, ids[:length])
        if found is not None:
            return length, found
    return None


def test_a_stop_string_of_one_token_ends_a_word_level_sample():
    tokenizer = make_tokenizer("word")
    found = first_ending(tokenizer, "problem <reasoning>", "one plus 2 </reasoning> so", ("</reasoning>",))
    assert found == (4, " one plus 2 </reasoning>")


def test_a_stop_string_of_many_tokens_ends_at_its_last():
    tokenizer = make_tokenizer("byte")
    assert first_ending(tokenizer, "x", "ab\n\nQ: more", ("\n\nQ:",)) == (6, "ab\n\nQ:")


def test_the_stop_string_that_ends_first_wins_and_others_are_left_alone():
    tokenizer = make_tokenizer("byte")
    assert first_ending(tokenizer, "x", "abcd", ("zz", "bc", "abcd")) == (3, "abc")
    assert first_ending(tokenizer, "x", "abcd", ("xy",)) is None
    assert first_ending(tokenizer, "x", "abcd", ()) is None


def test_a_pattern_ends_a_sample_where_its_first_match_ends():
    tokenizer = make_tokenizer("byte")
    text = "a\n# b\n#7 c\n#8\n"
    assert first_ending(tokenizer, "#5\n", text, (), r"^#\d[^\n]*\n") == (11, "a\n# b\n#7 c\n")
    assert first_ending(tokenizer, "x", text, ("# b",), r"^#\d[^\n]*\n") == (5, "a\n# b")
    assert first_ending(tokenizer, "x", "a #7", (), r"^#\d[^\n]*\n") is None


def test_a_stop_string_in_the_prompt_does_not_count():
    tokenizer = make_tokenizer("byte")
    assert first_ending(tokenizer, "ab", "cd", ("bc",)) is None


def test_a_stop_that_ends_in_a_space_is_found():
    tokenizer = make_tokenizer("byte")
    assert first_ending(tokenizer, "x", "is it ", ("it ",)) == (6, "is it ")


@pytest.mark.parametrize("kind", ["byte", "word"])
def test_a_special_token_ends_the_sample_and_stays_in_the_text(kind):
    tokenizer = make_tokenizer(kind)
    tokenizer.add_special_tokens({"additional_special_tokens": ["</reasoning>"]})
    assert list(special_stops(tokenizer, ("</reasoning>", "one")).values()) == ["</reasoning>"]
    sample = "one</reasoning>two" if kind == "byte" else "one </reasoning> two"
    found = first_ending(tokenizer, "problem", sample, ("</reasoning>",))
    assert found is not None
    length, text = found
    assert text.strip() in ("one</reasoning>", "one </reasoning>") and text.endswith("</reasoning>")
    assert length == (4 if kind == "byte" else 2)


def test_a_character_of_several_tokens_can_be_a_stop():
    tokenizer = make_tokenizer("byte")
    assert first_ending(tokenizer, "x", "aé!", ("é",)) == (3, "aé")
