"""From drafts to a data set: split, account, agreement of judges, figures and the card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.dataset.cases import LINES, PROBLEM
from tests.unit.dataset.configs import build_config
from tracelift_ray.data.rubric_records import RubricLabels, RubricRecord, RubricTrace
from tracelift_ray.dataset.pipeline.agreement import agreement
from tracelift_ray.dataset.pipeline.card import data_card, task_section
from tracelift_ray.dataset.pipeline.drafts import Draft
from tracelift_ray.dataset.pipeline.outcome import outcome_of
from tracelift_ray.dataset.pipeline.stages import Candidate

TRACE = "\n".join(LINES)
GOOD, BAD = RubricLabels((4,) * 5, 1.0), RubricLabels((4, 4, 2, 0, 1), 0.3)
FLAW = Candidate(TRACE.replace("= 150", "= 140").replace("150*4", "140*4"), "arithmetic_slip", 0.5)
CONFIG = build_config("source=problems.jsonl", "out=data", "clean.min_negatives=1", "heldout_fraction=0.5")


def draft(number: int, **changes: object) -> Draft:
    problem = replace(PROBLEM, id=f"p{number}", statement=f"{number}. {PROBLEM.statement}")
    made = Draft(problem, None, (Candidate(TRACE), FLAW), ((GOOD, BAD),))
    return replace(made, **changes)  # type: ignore[arg-type]


def test_every_problem_is_in_train_or_held_out_or_left_out_with_its_reason() -> None:
    drafts = [draft(n) for n in range(40)]
    drafts[3] = Draft(drafts[3].problem, "no worked solution")
    drafts[4] = draft(4, traces=(Candidate(TRACE),), rubrics=((GOOD,),))
    outcome = outcome_of(drafts, CONFIG, "problems")
    assert 5 < len(outcome.heldout) < 33 and len(outcome.records) == 38
    assert {g.problem.id for g in outcome.train}.isdisjoint(g.problem.id for g in outcome.heldout)
    assert outcome.left_out == {"p3": "no worked solution", "p4": "fewer than 1 flawed traces"}
    assert outcome.records[0].source == "problems" and outcome.records[0].metadata["seed"] == 0


def test_the_split_follows_from_the_id_alone() -> None:
    drafts = [draft(n) for n in range(40)]
    whole = {g.problem.id for g in outcome_of(drafts, CONFIG, "x").heldout}
    part = {g.problem.id for g in outcome_of(drafts[::-2], CONFIG, "x").heldout}
    assert part == whole & {d.problem.id for d in drafts[::-2]}


def test_a_held_out_text_under_another_id_is_left_out_of_train() -> None:
    drafts = [draft(n) for n in range(40)]
    held = outcome_of(drafts, CONFIG, "x").heldout[0].problem
    kept = outcome_of(drafts, CONFIG, "x").train[0].problem
    copy = replace(kept, statement=held.statement.upper().replace(" ", "  "))
    outcome = outcome_of([replace(d, problem=copy) if d.problem.id == copy.id else d for d in drafts], CONFIG, "x")
    assert outcome.leakage.by_text == 1 and copy.id not in {g.problem.id for g in outcome.records}


def test_what_was_thrown_away_on_the_way_is_counted_with_what_was_not_clean() -> None:
    traces = (Candidate(TRACE), FLAW, replace(FLAW, reasoning="No."))
    drafts = [draft(n, traces=traces, rubrics=((GOOD, BAD, BAD),), discarded={"odd": 2}) for n in (1, 2)]
    assert outcome_of(drafts, CONFIG, "x").dropped == {"odd": 4, "too short": 2}


def test_agreement_counts_labels_totals_and_order() -> None:
    mild = RubricLabels((4, 3, 2, 1, 1), 0.9)
    good, opinions = Candidate(TRACE), ([GOOD, BAD, BAD], [GOOD, mild, None])
    drafts = [draft(1, traces=(good, FLAW, FLAW), rubrics=opinions), draft(2, rubrics=([GOOD, BAD], [BAD, GOOD]))]
    two = agreement([*drafts, draft(3)])
    assert two is not None and two.traces == 4
    assert two.exact == (1.0, 0.75, 0.5, 0.25, 0.5)
    assert two.within_one == (1.0, 1.0, 0.5, 0.5, 0.5)
    assert two.total_error == pytest.approx((0 + 0.6 + 0.7 + 0.7) / 4)
    assert two.order == 0.5
    assert agreement([draft(1, traces=(good,), rubrics=([None], [GOOD])), draft(2)]) is None


def test_figures_tell_what_length_gives_away() -> None:
    def group(*flawed: str) -> RubricRecord:
        bad = tuple(RubricTrace(text, (0, 1, 2, 3, 4), 0.5, "long" if len(text) > 4 else "short") for text in flawed)
        return RubricRecord(PROBLEM, (RubricTrace("four", (4,) * 5, 1.0),), bad)

    card = task_section("math", [group("longer", "abc"), group("longest", "same")])
    for part in (
        "2 groups with 2 good and 4 flawed traces.",
        "| `long` | 2 | 50.0% | 0.50 | 1.00 |\n| `short` | 2 | 50.0% | 0.50 | 0.25 |\n| all | 4 | 100% |  | 0.62 |",
        "| `solution_strategy` | 0 0 0 0 2 | 0 4 0 0 0 |",
        "| flawed | 3 | 6 | 7 |",
    ):
        assert part in card, part
    assert task_section("code", [group("x")]) == ""


def test_the_card_says_what_the_data_hold_and_how_to_make_them_again() -> None:
    config = replace(CONFIG, judge="both", licence="CC0")
    drafts = [draft(n, rubrics=((GOOD, BAD), (GOOD, BAD))) for n in range(40)]
    drafts[0] = Draft(drafts[0].problem, "no worked solution")
    outcome = outcome_of(drafts, config, "gsm8k")
    card = data_card(outcome, config, source="gsm8k", problems=40, checksums={"train.jsonl": "abc"})
    for part in (
        "For each of 39 problems",
        f"| train.jsonl | {len(outcome.train)} | `abc` |",
        "40 of `problems.jsonl`, read as `gsm8k`. **Licence**: CC0.",
        "| `arithmetic_slip` | 39 | 100.0% | 0.30 | 0.50 |",
        "| `calculation_correctness` | 0 0 0 0 39 | 39 0 0 0 0 |",
        "78 traces have both rubrics. The totals differ by 0.000 on average. They put 100.0% of the pairs",
        "| no worked solution | 1 |",
        "python -m launch.build_groups source=problems.jsonl",
        "seed=0",
    ):
        assert part in card, part
