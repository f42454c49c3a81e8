"""What does not belong into a data set is dropped, and counted by reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.dataset.cases import LINES, PROBLEM
from tracelift_ray.data.rubric_records import RubricLabels
from tracelift_ray.dataset.pipeline.clean import Cleaned, clean_traces
from tracelift_ray.dataset.pipeline.stages import Candidate
from tracelift_ray.dataset.settings import CleanConfig
from tracelift_ray.types import Problem

TRACE = "\n".join(LINES)
RULES = CleanConfig(20, 400, 0.9, 0.5, 1)
GOOD, BAD = RubricLabels((4,) * 5, 1.0), RubricLabels((4, 4, 2, 0, 1), 0.3)
CLEAN = Candidate(TRACE)
FLAW = Candidate(TRACE.replace("= 150", "= 140").replace("150*4", "140*4"), "arithmetic_slip", 0.5)


#: A trace alone, or with its rubric.
Judged = Candidate | tuple[Candidate, RubricLabels | None]


def cleaned(*traces: Judged, problem: Problem = PROBLEM, rules: CleanConfig = RULES) -> Cleaned:
    """What is left of traces; a rubric that is not given fits the trace."""
    judged = [each if isinstance(each, tuple) else (each, GOOD if each.kind is None else BAD) for each in traces]
    return clean_traces(problem, judged, rules)


def test_what_is_clean_stays_as_it_is() -> None:
    result = cleaned(CLEAN, FLAW)
    assert result.refused is None and not result.dropped
    (good,), (bad,) = result.positives, result.negatives
    assert (good.reasoning, good.labels, good.negative_kind) == (TRACE, (4,) * 5, None)
    assert (bad.labels, bad.total, bad.negative_kind, bad.extra) == (BAD.labels, 0.3, "arithmetic_slip", {"place": 0.5})


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        (replace(FLAW, reasoning="Too short."), "too short"),
        (replace(FLAW, reasoning=f"{TRACE}\n" * 9), "too long"),
        (replace(FLAW, reasoning=TRACE.replace("150*4 = ?", "150*4 = 600")), "gives the answer away"),
        (replace(FLAW, reasoning=TRACE.replace("150*4", "[number]*4")), "holds a placeholder"),
        (replace(FLAW, reasoning=TRACE.upper()), "the same as a good trace"),
        (replace(FLAW, reasoning=f"Well, {FLAW.reasoning}"), "nearly the same as another"),
        ((replace(FLAW, reasoning=TRACE.replace("15*12", "15*13")), None), "no rubric that can be read"),
        (
            (replace(FLAW, reasoning=TRACE.replace("15*12", "15*13")), GOOD),
            "a flawed trace that the judge finds no worse",
        ),
    ],
)
def test_a_flawed_trace_is_dropped_for_a_reason(flaw: Judged, reason: str) -> None:
    result = cleaned(CLEAN, FLAW, flaw)
    assert result.dropped == {reason: 1}
    assert [trace.reasoning for trace in result.negatives] == [FLAW.reasoning]


def test_a_leak_may_give_the_answer_away() -> None:
    leak = Candidate(TRACE.replace("= ?", "= 600"), "leaked_answer", 1.0)
    assert len(cleaned(CLEAN, leak).negatives) == 1


def test_flaws_of_different_kinds_in_nearly_the_same_words_both_stay() -> None:
    other = Candidate(f"Well, {FLAW.reasoning}", "contradiction", 0.5)
    assert len(cleaned(CLEAN, FLAW, other).negatives) == 2


def test_program_code_in_a_plan_is_dropped_unless_it_is_the_flaw() -> None:
    problem = Problem(id="c", task="code", statement="Print n.")
    text = "Read the number.\nThen do this:\nprint(n)"
    for kind, kept in (("off_by_one", 0), ("leaked_implementation", 1)):
        good, bad = Candidate("Read the number, then print it."), Candidate(text, kind, 0.5)
        result = cleaned(good, bad, problem=problem)
        assert len(result.negatives) == kept
        assert result.dropped == ({} if kept else {"holds program code": 1})


def test_what_the_statement_itself_says_is_no_placeholder() -> None:
    problem = replace(PROBLEM, statement="Write <name> for [name].")
    good = Candidate("Take the text and put <name> in front.")
    assert cleaned(good, problem=problem, rules=replace(RULES, min_negatives=0)).positives


def test_good_traces_that_the_judge_finds_bad_make_no_group() -> None:
    result = cleaned((CLEAN, BAD), FLAW)
    assert result.refused == "no good trace is left"
    assert result.dropped["a good trace that the judge finds bad"] == 1


def test_too_few_flawed_traces_make_no_group() -> None:
    assert cleaned(CLEAN, FLAW, rules=replace(RULES, min_negatives=2)).refused == "fewer than 2 flawed traces"
