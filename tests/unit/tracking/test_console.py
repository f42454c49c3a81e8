import io

from rich.console import Console

from tracelift_ray.tracking.console import ConsoleReporter, evaluation_lines, phase_shares, step_line

METRICS = {
    "reward/mean": 0.512,
    "system/uplift": -0.25,
    "system/success": 0.6,
    "engine/tokens_per_s": 12345.0,
    "stream/staleness_max": 1.0,
    "time/step_s": 2.5,
    "time/rollout": 0.7,
    "time/update": 0.25,
    "time/broadcast": 0.001,
}


def test_a_line_shows_what_a_step_has() -> None:
    line = step_line(7, 60, METRICS)
    for part in ("step  7/60", "reward +0.512", "uplift -0.250", "accuracy 0.600", "tokens/s 12,345", "staleness 1"):
        assert part in line
    assert line.endswith("2.5 s rollout 70% update 25%")
    assert step_line(7, 60, {}) == "step  7/60"


def test_phases_come_largest_first_without_the_negligible() -> None:
    assert phase_shares(METRICS) == "rollout 70% update 25%"


def test_an_evaluation_has_a_line_for_each_task() -> None:
    lines = evaluation_lines(20, {"evaluation/math/accuracy": 0.5, "evaluation/code/accuracy": 0.75})
    assert lines == [
        "evaluation after step 20, code:  accuracy 0.750",
        "evaluation after step 20, math:  accuracy 0.500",
    ]


def test_without_a_terminal_there_are_plain_lines_and_no_bar() -> None:
    out = io.StringIO()
    reporter = ConsoleReporter(3, 0, Console(file=out, width=40))
    for step in (1, 2, 3):
        reporter.step(step, METRICS)
    reporter.message("a [bold]trace[/bold] stays as it is")
    reporter.close()
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert [line.split()[1] for line in lines[:3]] == ["1/3", "2/3", "3/3"]
    assert lines[0].endswith("ETA ?") and lines[2].endswith("ETA 0:00:00")
    assert lines[3] == "a [bold]trace[/bold] stays as it is"


def test_on_a_terminal_a_bar_is_drawn_and_taken_down() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    reporter = ConsoleReporter(3, 1, console)
    reporter.step(2, METRICS)
    reporter.close()
    reporter.close()
    assert "training" in out.getvalue() and "2/3" in out.getvalue()
