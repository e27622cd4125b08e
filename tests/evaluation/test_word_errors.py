"""Wrong and missing content words of a caption."""

import pytest

from utils.evaluation.word_categories import FUNCTION_WORDS, WORD_CATEGORIES
from utils.evaluation.word_errors import (
    OTHER,
    WordErrors,
    describe_errors,
    find_meanings,
    singular,
    word_errors,
)

DOGS = ["Two brown dogs run on the grass .", "a pair of puppies on a lawn", "Dogs with a ball."]


def test_word_that_no_reference_has_is_wrong_and_what_two_references_have_is_missing():
    errors = word_errors("three cats run on the beach", DOGS)
    assert errors == {
        "numbers": WordErrors(["three"], ["two"]),
        "animals": WordErrors(["cats"], ["dogs"]),
        "places": WordErrors(["beach"], ["grass"]),
    }


def test_synonyms_and_plurals_are_no_errors():
    assert word_errors("a pair of dogs on grass with balls", DOGS) == {}


def test_general_word_fits_any_other_word_of_its_category():
    assert word_errors("a person on a horse", ["a man on an animal"]) == {
        "people": WordErrors([], ["man"])
    }
    assert word_errors("a man on a horse", ["a person on an animal"]) == {}
    assert word_errors("a person", ["a horse"])["people"].wrong == ["person"]


def test_bird_is_general_for_ducks():
    assert word_errors("a duck", ["a bird", "a bird"]) == {}
    assert word_errors("a dog", ["a bird", "a bird"])["animals"] == WordErrors(["dog"], ["bird"])


def test_child_is_general_for_boys_and_girls_only():
    assert word_errors("two girls", ["a couple of kids", "two children"]) == {}
    assert word_errors("a kid", ["a girl", "a girl"])["people"] == WordErrors([], ["girl"])
    assert word_errors("a woman", ["a child"])["people"] == WordErrors(["woman"], ["child"])


def test_what_a_single_reference_mentions_may_be_left_out_unless_it_is_the_only_one():
    assert "colors" not in word_errors("two dogs on the grass", DOGS)
    errors = word_errors("two dogs on the grass", DOGS[:1])
    assert errors == {
        "colors": WordErrors([], ["brown"]),
        "actions": WordErrors([], ["run"]),
    }


def test_missing_word_is_shown_as_most_references_write_it():
    references = ["a puppy", "dogs", "dogs"]
    assert word_errors("grass", references)["animals"].missing == ["dogs"]


def test_caption_equal_to_a_reference_has_no_wrong_word():
    for reference in DOGS:
        assert all(not errors.wrong for errors in word_errors(reference, DOGS).values())


@pytest.mark.parametrize("references", [[], [""], ["...", "the of"]])
def test_without_references_every_content_word_is_wrong(references):
    errors = word_errors("a dog with a frisbee", references)
    assert errors == {"animals": WordErrors(["dog"], []), OTHER: WordErrors(["frisbee"], [])}
    assert word_errors("", references) == {}


def test_words_of_other_languages_are_compared_as_they_are():
    assert word_errors("ein Hund", ["ein Hund läuft", "ein Hund läuft"]) == {
        OTHER: WordErrors([], ["läuft"])
    }


def test_function_words_are_no_content_words():
    words = set()
    for groups in WORD_CATEGORIES.values():
        for group in groups:
            words.update(group.split())
    assert FUNCTION_WORDS & words == {"wear", "wears", "wearing"}
    assert find_meanings(" ".join(sorted(FUNCTION_WORDS))) == {}


@pytest.mark.parametrize(
    ("plural", "expected"),
    [("balls", "ball"), ("dresses", "dress"), ("boxes", "box"), ("benches", "bench")],
)
def test_singular(plural, expected):
    assert singular(plural) == singular(expected) == expected


def test_description_has_a_line_for_each_category():
    errors = {
        "animals": WordErrors(["cat"], ["dog"]),
        "colors": WordErrors(["red", "blue"], []),
        OTHER: WordErrors([], ["ball"]),
    }
    assert describe_errors(errors).splitlines() == [
        "animals: cat instead of dog",
        "colors: red, blue is in no reference",
        "other words: ball missing",
    ]
    assert describe_errors({}) == "no content word is wrong or missing"
