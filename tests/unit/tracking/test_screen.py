"""The screen below a run's lines."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
from rich.console import Console

from launch.entry import Stderr
from tests.unit.tracking.worlds import group, trajectory
from tracelift_ray.tracking.console import ConsoleReporter
from tracelift_ray.tracking.questions import QUESTIONS
from tracelift_ray.tracking.records import trajectory_record
from tracelift_ray.tracking.screen import EXAMPLE_LINES, example_lines, printable, question_lines

METRICS = {
    "reward/mean": 0.5,
    "reward/signal": 0.75,
    "evaluation/math/accuracy": 0.9,
    "evaluation/code/accuracy": 0.8,
    "system/leak": 0.02,
    "stream/staleness_max": 1.0,
    "time/step_s": 2.5,
    "time/rollout": 0.7,
    "pools/planner/idle": 0.2,
    "pools/planner/members": 2.0,
    "faults/planner/died": 1.0,
    "faults/planner/failed": 0.0,
    "nodes/vm/memory_percent": 41.0,
}


def test_five_questions_have_five_lines_of_what_is_measured() -> None:
    lines = question_lines(METRICS)
    assert [line[: len(question.title)] for line, question in zip(lines, QUESTIONS, strict=True)] == [
        question.title for question in QUESTIONS
    ]
    assert lines[0].endswith("reward +0.500  signal 75%  held-out code 0.800 math 0.900")
    assert lines[1].endswith("leaks 2%") and lines[2].endswith("staleness 1")
    assert lines[3].endswith("step 2.5 s  of it rollout 70%  idle planner 20%")
    assert lines[4].endswith("members planner 2  lost planner 1  memory vm 41%")


def test_nodes_learners_and_what_was_started_again_are_shown_where_there_are_any() -> None:
    lost = {"faults/nodes": 1.0, "faults/learner/lost": 2.0, "faults/learner/restarts": 2.0}
    restarts = {"pools/planner/restarts": 1.0, "pools/verifier/restarts": 0.0}
    assert question_lines(METRICS | lost | restarts)[4].endswith(
        "lost learner 2 nodes 1 planner 1  started again learner 2 planner 1  memory vm 41%"
    )
    none = dict.fromkeys((*lost, *restarts), 0.0)
    assert question_lines(METRICS | none) == question_lines(METRICS)


def test_an_example_is_short_and_nothing_in_it_is_obeyed() -> None:
    record = trajectory_record(7, group(trajectory(0, reward=0.5)), trajectory(0, reward=0.5), 1.0)
    record |= {"reasoning": "a\x1b[2J[bold]b\n" * 200, "statement": "one\ttwo\x07"}
    lines = example_lines(record, 40)
    assert lines[0].endswith(": one two") and "reward +0.50" in lines[-1]
    assert len(lines) == EXAMPLE_LINES + 2 and lines[EXAMPLE_LINES].endswith("…")
    assert all(line.isprintable() and len(line) <= 42 for line in lines[1:-1])
    assert "[bold]" in lines[1] and printable("\x9b31m x") == "31m x"


def test_a_terminal_shows_bar_questions_checkpoint_and_example() -> None:
    out = io.StringIO()
    reporter = ConsoleReporter(3, 1, Console(file=out, force_terminal=True, width=120, height=40))
    reporter.step(2, METRICS)
    reporter.checkpoint("step-000002")
    reporter.example([trajectory_record(2, group(trajectory(0, reward=0.5)), trajectory(0, reward=0.5), 1.0)])
    reporter.close()
    text = out.getvalue()
    for part in ("2/3", "Is it healthy?", "last checkpoint: step-000002", "step 2, group"):
        assert part in text


def test_elsewhere_there_is_no_screen() -> None:
    out = io.StringIO()
    reporter = ConsoleReporter(3, 1, Console(file=out, width=120))
    reporter.step(2, METRICS)
    reporter.checkpoint("step-000002")
    reporter.example([])
    reporter.close()
    assert len(out.getvalue().splitlines()) == 1


class Terminal(io.StringIO):
    """Takes what is printed as a terminal does."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What stands on it."""
        lines, row = [""], 0
        for part in re.findall(r"\x1b\[[?\d;]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if part == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            elif part == "\x1b[2K":
                lines[row] = ""
            elif part.startswith("\x1b") and part.endswith("A"):
                row -= int(part[2:-1])
            elif part.isprintable():
                lines[row] += part
        return lines


@pytest.fixture
def logger() -> logging.Logger:
    """One that writes as those of a command do, and to no handler that another test left."""
    logger = logging.Logger("a component")
    logger.addHandler(logging.StreamHandler(Stderr()))
    return logger


def test_what_is_printed_beside_the_screen_stays_above_it(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    reporter = ConsoleReporter(3, 1, Console(width=120, height=40, force_terminal=True))
    reporter.step(2, METRICS)
    logger.warning("planner[0] is lost")
    print("a line of a library")
    reporter.message("a message")
    reporter.close()
    logger.warning("afterwards")
    shown = terminal.lines()
    above = ["planner[0] is lost", "a line of a library", "a message"]
    assert shown[0].startswith("step 2/3") and shown[1:4] == above
    assert "training" in shown[4] and sum("training" in line for line in shown) == 1
    assert "afterwards" in shown and sys.stdout is sys.stderr is terminal


def test_warnings_reach_their_file_beside_the_screen(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", file)
    reporter = ConsoleReporter(3, 1, Console(width=120, height=40, force_terminal=True))
    logger.warning("planner[0] is lost")
    reporter.close()
    assert file.getvalue() == "planner[0] is lost\n" and "lost" not in terminal.getvalue()


def test_a_console_that_is_off_takes_no_warnings(logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    reporter = ConsoleReporter(3, 1, Console(quiet=True, force_terminal=True))
    logger.warning("planner[0] is lost")
    reporter.step(2, METRICS)
    reporter.close()
    assert terminal.getvalue() == "planner[0] is lost\n"
