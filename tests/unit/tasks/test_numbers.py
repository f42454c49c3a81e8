"""Plain numbers: what is one, what it is worth, and when two are the same."""

import time
from fractions import Fraction

import pytest

from tracelift_ray.tasks.numbers import MAX_NUMBER_CHARS, SIGNED_NUMBER_IN_TEXT, PlainNumber, plain_number, same_number


def same(answer: str, reference: str) -> bool:
    given, wanted = plain_number(answer), plain_number(reference)
    assert given is not None and wanted is not None
    return same_number(given, wanted)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72),
        ("1,234.50", Fraction(2469, 2)),
        ("1 234", 1234),
        ("1{,}234", 1234),
        ("$18", 18),
        ("-$5", -5),
        ("$-5", -5),
        ("\u22125", -5),
        ("\\$18.00", 18),
        ("18 dollars.", 18),
        ("5 km/h", 5),
        ("25ml", 25),
        ("12\\text{ cm}", 12),
        ("90^\\circ", 90),
        ("4 square meters", 4),
        ("3/4", Fraction(3, 4)),
        ("1 1/2", Fraction(3, 2)),
        ("1\\frac{1}{2}", Fraction(3, 2)),
        ("-\\frac{3}{4}", Fraction(-3, 4)),
        ("\\frac12", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1.5e3", 1500),
        ("2 \\times 10^4", 20000),
        ("2 \\times 10^{-1}", Fraction(1, 5)),
        ("2 million", 2_000_000),
        ("x = 5", 5),
        ("$\\boxed{1,234}$", 1234),
        ("**18**", 18),
        ("\uff15", 5),
    ],
)
def test_what_people_write_for_a_number_is_one(text, value):
    number = plain_number(text)
    assert number is not None and number.value == value and not number.percent


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "three", "5x", "5 x", "2 pi", "12,34", "1,2345", "(5)", "12:30", "5 or 6", "5 apples and 6 pears"),
        *("10**10**10", "2^10", "1/0", "18 because of tax", "\u0665", "1.2.3", "9" * (MAX_NUMBER_CHARS + 1)),
    ],
)
def test_other_texts_are_none(text):
    assert plain_number(text) is None


def test_a_per_cent_sign_is_read_either_way_against_a_bare_number():
    assert plain_number("50\\%") == PlainNumber(Fraction(50), percent=True)
    assert same("50%", "0.5") and same("0.5", "50%")
    assert same("50%", "50") and same("50", "50%")
    assert same("50%", "50 percent")
    assert not same("50%", "0.5%")


def test_whole_numbers_are_equal_exactly_and_others_to_six_digits():
    assert same("18.00", "18") and same("0.333333", "1/3")
    assert not same("0.3333", "1/3")
    assert not same("1000001", "1000000")
    assert not same("1234567.5", "1234567")
    assert not same("2e-9", "1e-9")
    assert not same("0.0000001", "0")


def test_numbers_in_running_text():
    def numbers(text: str) -> list[str]:
        return [match[0] for match in SIGNED_NUMBER_IN_TEXT.finditer(text)]

    assert numbers("20-2 is 18, not 1,234.5!") == ["20", "2", "18", "1,234.5"]
    assert numbers("it falls to -5 or by 3/4 or 50%") == ["-5", "3/4", "50%"]
    assert numbers("the 3rd of 2x and v2 weighs 25ml") == ["25"]


@pytest.mark.parametrize("piece", ["9", "1,", "\\frac{", "$", " ", "-", "\\text{", "1 "])
def test_long_texts_cost_nothing(piece):
    text = piece * (1_000_000 // len(piece))
    started = time.perf_counter()
    assert plain_number(text) is None
    plain_number(text[:MAX_NUMBER_CHARS])
    assert time.perf_counter() - started < 0.5
