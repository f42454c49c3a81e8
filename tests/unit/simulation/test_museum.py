"""The museum's bugs still apply to the code as it is, and the simulation notices some of them here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.museum import Finding, copied, failing_seed, report
from benchmarks.mutants import MUTANTS, Mutant

PACKAGE = Path(__file__).resolve().parents[3] / "tracelift_ray"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_every_bug_applies_once_and_leaves_a_program(mutant: Mutant) -> None:
    compile(mutant.applied(PACKAGE), mutant.file, "exec")
    assert all((PACKAGE.parent / "tests" / "unit" / each).exists() for each in mutant.tests)


def test_thirty_bugs_are_thirty() -> None:
    assert len({mutant.bug for mutant in MUTANTS}) == len(MUTANTS) == 30


def test_the_simulation_notices_a_bug_in_a_copy_of_the_project() -> None:
    (mutant,) = [mutant for mutant in MUTANTS if mutant.bug == "an exception is scored 0"]
    with copied(mutant) as copy:
        assert failing_seed(copy, 20).partition(": ")[2] == "a reward has all of its verdicts"


def test_the_report_counts_what_was_noticed() -> None:
    findings = [Finding(MUTANTS[0], "test_a", "3: a rule"), Finding(MUTANTS[1], "", "4: another")]
    page = report(findings, 20)
    assert "by the unit tests: 1 of 2; by the simulation: 2." in page
    assert f"| {MUTANTS[1].bug} | `{MUTANTS[1].file}` | none | 4: another |" in page
