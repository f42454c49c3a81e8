"""Outputs of programs: what is the same, what is not, and what must not be talked into it."""

from __future__ import annotations

import pytest

from tracelift_ray.tasks.code_tests import OutputRule
from tracelift_ray.types import CodeTests
from tracelift_ray.verification.comparison import outputs_match, shown_difference

TOKENS = OutputRule()
EXACT = OutputRule(exact=True)
CLOSE = OutputRule(abs_tol=1e-6)
RELATIVE = OutputRule(rel_tol=1e-6)


@pytest.mark.parametrize(
    "written, wanted",
    [
        ("1 2\n", "1 2"),
        ("1\r\n2\r\n", "1\n2\n"),
        ("  1\t2 \n\n", "1 2"),
        ("", "\n"),
        ("\ufefférable", "\ufefférable"),
        ("\udcff", "\udcff"),
    ],
)
def test_white_space_does_not_matter_by_default(written: str, wanted: str) -> None:
    assert outputs_match(written, wanted, TOKENS)


@pytest.mark.parametrize(
    "written, wanted",
    [
        ("12", "1 2"),
        ("1 2 3", "1 2"),
        ("1", "1 2"),
        ("", "1"),
        ("1.0", "1"),
        ("Yes", "YES"),
        ("1\u00a02", "1 2"),
        ("1\u30002", "1 2"),
        ("1\x1f2", "1 2"),
        ("1\x002", "1 2"),
        ("2\b1", "1"),
        ("\ufeff1", "1"),
    ],
)
def test_other_tokens_are_another_output(written: str, wanted: str) -> None:
    assert not outputs_match(written, wanted, TOKENS)


@pytest.mark.parametrize("written, same", [("a b\n", True), ("a b", True), ("a b\r\n", True)])
def test_exact_forgives_line_ends(written: str, same: bool) -> None:
    assert outputs_match(written, "a b\n", EXACT) is same


@pytest.mark.parametrize("written", ["a  b\n", " a b\n", "a b \n", "a b\n\n", "a\nb", "a b\r\r\n"])
def test_exact_forgives_nothing_else(written: str) -> None:
    assert not outputs_match(written, "a b\n", EXACT)


@pytest.mark.parametrize(
    "written, wanted, rule",
    [
        ("0.3333333", "0.33333333333", CLOSE),
        ("1.0", "1", CLOSE),
        ("-1e-7", "0", CLOSE),
        ("+.5", "0.5000001", CLOSE),
        ("1000000.4", "1000000", RELATIVE),
        ("a 1.0000001 b", "a 1 b", RELATIVE),
        ("1e300", "1.0000001e300", RELATIVE),
        ("9.99e999", "9.99000001e999", RELATIVE),
    ],
)
def test_numbers_within_the_tolerance_are_the_same(written: str, wanted: str, rule: OutputRule) -> None:
    assert outputs_match(written, wanted, rule)


@pytest.mark.parametrize(
    "written, wanted, rule",
    [
        ("0.33333", "0.33333333333", CLOSE),
        ("1000002", "1000000", RELATIVE),
        ("1e-9", "0", RELATIVE),
        ("1000000000000000001", "1000000000000000000", OutputRule(abs_tol=0.5)),
        ("9007199254740993", "9007199254740992", OutputRule(abs_tol=0.0)),
        ("nan", "nan2", CLOSE),
        ("nan", "1", CLOSE),
        ("inf", "1e999", CLOSE),
        ("1e9999", "1e9998", OutputRule(rel_tol=100.0)),
        ("\uff11", "1", CLOSE),
        ("\u0663", "3", CLOSE),
        ("4_2", "42", CLOSE),
        ("0x2a", "42", CLOSE),
        ("1/1", "1", CLOSE),
        ("1" * 401, "1" * 400 + "2", OutputRule(rel_tol=1.0)),
        ("yes", "no", OutputRule(abs_tol=1e9)),
        ("1", "1 1", CLOSE),
    ],
)
def test_a_tolerance_is_for_plain_numbers_only(written: str, wanted: str, rule: OutputRule) -> None:
    assert not outputs_match(written, wanted, rule)


def test_a_flood_of_output_is_compared_in_linear_time() -> None:
    """In quadratic time it would not end before the test's own limit."""
    numbers = "1234567.25 " * 200_000
    assert not outputs_match("9" * 4_000_000, numbers, CLOSE)
    assert not outputs_match("9" * 4_000_000, "9" * 3_999_999 + "8", CLOSE)
    assert not outputs_match("1e" * 1_000_000 + " ", "1 1", CLOSE)


@pytest.mark.parametrize("fields", [{"abs_tol": -1.0}, {"rel_tol": float("nan")}, {"exact": True, "abs_tol": 0.1}])
def test_an_unusable_rule_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"abs_tol|rel_tol"):
        OutputRule(**fields)  # type: ignore[arg-type]


def test_the_rule_comes_with_the_tests_and_survives_their_shortening() -> None:
    tests = CodeTests("stdio", inputs=("1", "2"), outputs=("1", "2"), abs_tol=0.1, rel_tol=0.2)
    assert OutputRule.of(tests.limited(1)) == OutputRule(abs_tol=0.1, rel_tol=0.2)
    assert len(tests.limited(1)) == 1


def test_a_difference_is_shown_in_one_printable_line() -> None:
    text = shown_difference("\x1b[2J2\n" * 1000, "1\n2")
    assert text.startswith("expected '1 2', got '\\x1b[2J2 ")
    assert "\n" not in text and len(text) < 300
