"""The bench: figures against their goals and against the run before, the page, and parts that fail."""

import json

import pytest

from benchmarks import all as bench
from benchmarks import figures
from benchmarks.figures import Figure, median
from benchmarks.tables import markdown, row


@pytest.fixture
def two_parts(monkeypatch):
    monkeypatch.setattr(bench, "PARTS", {"a": None, "b": None})


def result(*figures, failure=""):
    return bench.Result("python -m benchmarks.x", figures, 1.0, "0.1 to 0.2", "2001-01-01T00:00+00:00", failure)


@pytest.mark.parametrize(("better", "kept"), [("lower", True), ("higher", False)])
def test_a_goal_is_kept_on_its_side(better, kept):
    assert Figure("x", 1.0, "ratio", better, goal=2.0).kept is kept


def test_a_figure_without_a_goal_keeps_none():
    assert Figure("x", 1.0, "ratio", "lower").kept is None


def test_the_median_of_rounds_says_their_range():
    figure = median("x", [3.0, 1.0, 2.0], "s", "lower")
    assert (figure.value, figure.spread) == (2.0, "1 to 3 in 3 rounds")


def test_one_round_has_no_range():
    assert median("x", [3.0], "s", "lower").spread == "1 round"


@pytest.mark.parametrize(
    ("within", "first", "numbers"),
    [("120", 0, [0, 1, 2, 3, 4]), ("99", 0, [0, 1, 2, 3]), ("0", 0, [0, 1]), ("70", 1, [1, 2, 3]), ("0", 1, [1])],
)
def test_rounds_that_do_not_fit_into_the_time_are_left_out_but_for_the_first(monkeypatch, within, first, numbers):
    """Each takes 20 s."""
    clock = iter(sorted([*range(0, 400, 20), *range(20, 400, 20)]))
    monkeypatch.setattr(figures, "BEGAN", 0.0)
    monkeypatch.setattr(figures, "monotonic", lambda: next(clock))
    options = figures.parser("", rounds=4).parse_args(["--within", within])
    assert list(figures.turns(options, first)) == numbers


def test_parts_share_the_time_by_what_they_take_and_what_is_saved_is_shared_again(monkeypatch, tmp_path):
    parts = {"a": bench.Part("a", (), 10), "b": bench.Part("b", ("--rounds", "2"), 30, adapts=True, real=True)}
    clock, ran = iter([0.0, 0.0, 20.0]), []
    monkeypatch.setattr(bench, "PARTS", parts)
    monkeypatch.setattr(bench, "monotonic", lambda: next(clock))
    monkeypatch.setattr(bench, "run", lambda part, model, share, limit: ran.append((part.module, share, limit)))
    list(bench.run_all(["a", "b"], str(tmp_path), 2.0))
    assert ran == [("a", 30.0, 75.0), ("b", 100.0, 100.0)]
    assert parts["a"].command("", 30.0) == ["-m", "benchmarks.a"]
    b = ["-m", "benchmarks.b", "--rounds", "2", "--within", "85", "--model", str(tmp_path)]
    assert parts["b"].command(str(tmp_path), 100.0) == b


def test_a_model_that_is_not_there_leaves_its_time_to_the_others(monkeypatch, tmp_path, capsys):
    parts = {"a": bench.Part("a", (), 10, real=True), "b": bench.Part("b", (), 30)}
    ran = []
    monkeypatch.setattr(bench, "PARTS", parts)
    monkeypatch.setattr(bench, "monotonic", lambda: 0.0)
    monkeypatch.setattr(bench, "run", lambda part, model, share, limit: ran.append((part.module, share)))
    list(bench.run_all(["a", "b"], str(tmp_path / "none"), 1.0))
    assert ran == [("b", 60.0)]
    assert "a: left out" in capsys.readouterr().out


def test_what_got_worse_is_named_whichever_way_is_better(two_parts):
    before = {"a": result(Figure("slow", 1.0, "s", "lower"), Figure("rate", 10.0, "tokens/s", "higher"))}
    former = json.loads(json.dumps(bench.merged({}, before)))
    after = {"a": result(Figure("slow", 1.5, "s", "lower"), Figure("rate", 8.0, "tokens/s", "higher"))}
    assert [line.split(":")[0] for line in bench.slower(former, after, 0.1)] == ["slow", "rate"]
    assert bench.slower(former, before, 0.1) == []
    better = {"a": result(Figure("slow", 0.5, "s", "lower"), Figure("rate", 20.0, "tokens/s", "higher"))}
    assert bench.slower(former, better, 0.1) == []


def test_parts_that_do_not_run_keep_their_figures(two_parts):
    first = bench.merged({}, {"a": result(Figure("one", 1.0, "s", "lower"))})
    both = bench.merged(first, {"b": result(Figure("two", 2.0, "s", "lower"))})
    assert list(both["parts"]) == ["a", "b"]
    assert both["parts"]["a"] == first["parts"]["a"]


def test_a_part_that_fails_keeps_its_figures_and_says_so(two_parts):
    first = bench.merged({}, {"a": result(Figure("one", 1.0, "s", "lower"))})
    after = bench.merged(first, {"a": result(failure="exit code 3")})
    assert after["parts"]["a"] == {**first["parts"]["a"], "failure": "exit code 3"}
    assert "| one | 1 s |" in markdown(json.loads(json.dumps(after)))


def test_the_page_shows_missed_goals_and_failed_parts(two_parts):
    results = {"a": result(Figure("slow", 3.0, "s", "lower", goal=2.0)), "b": result(failure="exit code 3")}
    page = markdown(json.loads(json.dumps(bench.merged({}, results))))
    assert "| slow | 3 s | ≤ 2 missed |" in page
    assert "exit code 3" in page
    assert "cores" in page


def test_a_cell_breaks_no_table():
    assert row(Figure("a|b", 1.0, "s", "lower")).count("|") == 7


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("weight broadcast, 30 layers of SmolLM2-135M, float32, collective, idle", "checkpoint-engine"),
        ("demo, learner tokens/s", "NeMo-RL"),
        ("demo, learner tokens/s / bare PyTorch", "nothing published"),
        ("sandbox, stdin tests/s / a process each, 2 at a time", "ScaleBox"),
        ("demo, command to first trace", "nothing published"),
    ],
)
def test_each_figure_stands_beside_what_a_peer_publishes(name, source):
    assert source in row(Figure(name, 1.0, "s", "lower"))


def test_a_part_that_takes_too_long_or_fails_is_no_figure(monkeypatch):
    part = bench.Part("x", (), 1.0)
    sleeps = "import time; time.sleep(600)"
    monkeypatch.setattr(bench.Part, "command", lambda self, model, share: ["-c", sleeps])
    assert bench.run(part, "", 1.0, 1.0).failure == "not over after 1 s"
    monkeypatch.setattr(bench.Part, "command", lambda self, model, share: ["-c", "raise SystemExit(3)"])
    assert bench.run(part, "", 60.0, 60.0).failure == "exit code 3"


def test_a_part_that_ends_well_has_its_figures(monkeypatch):
    writes = "import sys; sys.path.insert(0, '.'); from benchmarks.figures import *; "
    writes += "deliver(parser('').parse_args(), [Figure('x', 1.0, 's', 'lower')])"
    monkeypatch.setattr(bench.Part, "command", lambda self, model, share: ["-c", writes])
    assert bench.run(bench.Part("x", (), 1.0), "", 60.0, 60.0).figures == (Figure("x", 1.0, "s", "lower"),)


def test_every_part_is_a_script():
    missing = [
        part.module for part in bench.PARTS.values() if not (bench.ROOT / f"benchmarks/{part.module}.py").exists()
    ]
    assert not missing
