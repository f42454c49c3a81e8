"""Reading and changing the arithmetic of worked solutions."""

from fractions import Fraction

import pytest

from tracelift_ray.dataset.math_rules.equations import (
    evaluate,
    find_equations,
    numbers_of,
    replace_numbers,
    write_number,
)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("Natalia sold 48/2 = 24 clips in May.", [24]),
        ("Working 50 minutes, she earned 0.2 x 50 = $10.", [10]),
        ("He pays $1,200*2=$2,400 and (3 + 4) * 2 = 14.", [2400, 14]),
        ("So 7 - 3 = ? are left", [4]),
        ("It is wrong that 2 + 2 = 5 here", []),
        ("x = 4 and the year 1999", []),
        ("one half is 1/0 = 3", []),
    ],
)
def test_equations_that_hold_are_found(line, values):
    assert [equation.value for equation in find_equations(line)] == values


def test_spans_are_those_of_left_side_and_result():
    line = "Weng earns 12/60 = $0.2 a minute."
    (equation,) = find_equations(line)
    assert line[slice(*equation.left)].strip() == "12/60"
    assert line[slice(*equation.result)] == "0.2"


@pytest.mark.parametrize("text", ["", "3", "2**9", "__import__('os')", "9" * 40 + "+1", "(" * 500 + "1+1" + ")" * 500])
def test_what_is_no_plain_arithmetic_has_no_value(text):
    assert evaluate(text) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(Fraction(7), "7"), (Fraction(5, 2), "2.5"), (Fraction(1, 4), "0.25"), (Fraction(1, 3), None), (-1, None)],
)
def test_numbers_are_written_as_people_do_or_not_at_all(value, text):
    assert write_number(Fraction(value)) == text


def test_numbers_are_replaced_as_wholes():
    assert replace_numbers("4 of 44 are 4.5 or $4.", {Fraction(4): Fraction(9)}) == "9 of 44 are 4.5 or $9."
    assert numbers_of("1,200 and 0.5 and v2") == {Fraction(1200), Fraction(1, 2)}
