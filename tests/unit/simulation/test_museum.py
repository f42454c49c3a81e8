"""The museum's bugs still apply to the code as it is, and the simulation notices some of them here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutants import MUTANTS, Mutant

PACKAGE = Path(__file__).resolve().parents[3] / "tracelift_ray"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_every_bug_applies_once_and_leaves_a_program(mutant: Mutant) -> None:
    compile(mutant.applied(PACKAGE), mutant.file, "exec")
    assert all((PACKAGE.parent / "tests" / "unit" / each).exists() for each in mutant.tests)


def test_thirty_bugs_are_thirty() -> None:
    assert len({mutant.bug for mutant in MUTANTS}) == len(MUTANTS) == 30
