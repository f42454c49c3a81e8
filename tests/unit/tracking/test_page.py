"""The page of a report: whole without a network, complete, small, and never markup where a run's own text stands."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tracking.long_runs import write_long_run
from tests.unit.tracking.test_report import make_run
from tests.unit.tracking.worlds import executed, group, trajectory
from tracelift_ray.tracking.history import Point, load_history
from tracelift_ray.tracking.page import traces
from tracelift_ray.tracking.page.curves import MOST_STRIPS, chart_svg
from tracelift_ray.tracking.page.packing import PART, packed, unpacked
from tracelift_ray.tracking.page.page import SCRIPTS, page, table_html
from tracelift_ray.tracking.page.traces import MOST_CHARS, MOST_TEXT, MOST_TRACES, Texts, evenly, traces_data
from tracelift_ray.tracking.questions import QUESTIONS, measured
from tracelift_ray.tracking.records import trajectory_record
from tracelift_ray.tracking.report import write_report
from tracelift_ray.tracking.tables import Cells, difference
from tracelift_ray.types import Baseline

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \u2028 ${x} $title"


class Parsed(HTMLParser):
    """The elements of a page, with their attributes, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)
            self.scripts += [""] if tag == "script" else []

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside == ["script"]:
            self.scripts[-1] += data
        elif not self._inside:
            self.text += data

    @property
    def data(self) -> Any:
        return unpacked(self.scripts[0])  # the data; behind it the reader


#: Two of four samples, all of them drawn for the group.
BASELINE = Baseline(2, 4, executions=executed("passed", "wrong_answer", "passed", "wrong_answer"))


def with_traces(
    run: Path,
    steps: int = 2,
    text: str = "3 + 4 is the sum",
    statement: str = "What is 3 + 4?",
    baseline: Baseline = BASELINE,
) -> Path:
    """The run with a group of three traces in each step."""
    lines = []
    for step in range(1, steps + 1):
        traces = [
            trajectory(
                0, outcomes=("passed", "passed"), fresh="passed", rubric=0.8, uplift=0.5, reward=0.9, reasoning=text
            ),
            trajectory(1, outcomes=("wrong_answer", "passed"), rubric=0.3, uplift=0.0, reward=0.2, leaked=True),
            trajectory(2, malformed="unclosed", reward=-0.5),
        ]
        one = group(*traces, serial=step, baseline=baseline, statement=statement)
        lines += [json.dumps(trajectory_record(step, one, each, 0.25)) for each in traces]
    (run / "trajectories.jsonl").write_text("\n".join(lines) + "\n")
    return run


def page_of(*runs: Path) -> Parsed:
    return Parsed(page([load_history(run) for run in runs], []))


def test_the_report_writes_one_page_that_asks_for_nothing(tmp_path: Path) -> None:
    report = write_report([with_traces(make_run(tmp_path / "a", "tracelift", 3, 0.75))])
    text = report.page.read_text()
    parsed = Parsed(text)
    assert report.page == tmp_path / "a" / "report.html"
    assert "Held-out problems, tiny: tracelift, seed 3" in parsed.text and "0.750 ± 0.040" in parsed.text
    sources = [value for _, attributes in parsed.elements for name, value in attributes.items() if name == "src"]
    links = [attributes["href"] for tag, attributes in parsed.elements if "href" in attributes and tag == "a"]
    assert sources == [] and all(str(link).startswith("#") for link in links)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    assert "fetch(" not in parsed.scripts[1] and "XMLHttpRequest" not in parsed.scripts[1]


def test_the_page_allows_its_own_script_alone(tmp_path: Path) -> None:
    parsed = page_of(with_traces(make_run(tmp_path / "a", "tracelift", 3, 0.75)))
    policy = next(str(each["content"]) for tag, each in parsed.elements if "http-equiv" in each)
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_what_a_run_wrote_is_never_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", f"arm {HOSTILE}", 3, 0.75)
    honest = page_of(with_traces(make_run(tmp_path / "b", "tracelift", 3, 0.75)))
    parsed = Parsed(write_report([with_traces(run, text=HOSTILE, statement=HOSTILE)]).page.read_text())
    count = [sum(tag == each for tag, _ in parsed.elements) for each in ("script", "img", "style", "article")]
    assert count == [2, 0, 1, 1]
    assert all(not name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert parsed.scripts[1] == honest.scripts[1]
    assert HOSTILE in parsed.data["texts"] and f"arm {HOSTILE}" in parsed.data["runs"][0]
    assert HOSTILE.replace("\u2028", "") in parsed.text.replace("\u2028", ""), "the table shows it as text"


def test_no_cell_of_a_table_is_markup() -> None:
    parsed = Parsed(table_html(Cells(HOSTILE, ("task", "measure", HOSTILE), ((HOSTILE, "x", HOSTILE),))))
    assert {tag for tag, _ in parsed.elements} <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert parsed.text.count(HOSTILE) == 4


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_reader_puts_text_into_text_nodes_alone(name: str) -> None:
    source = (Path(__file__).parents[3] / "tracelift_ray/tracking/page" / name).read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser", source
    )
    assert len(source.splitlines()) <= 300


def test_packed_data_cannot_end_its_element_and_comes_back_whole() -> None:
    data = {"a": [1.5, None, HOSTILE], "texts": [HOSTILE, "", "\U0001f600 \ud800"]}
    assert re.fullmatch(r"[A-Za-z0-9+/=\n]+", packed(data))
    assert unpacked(packed(data)) == data
    many = {"texts": ["x" * (PART // 2 + number) for number in range(5)]}
    assert len(packed(many).split("\n")) == 1 + 3 and unpacked(packed(many)) == many


def test_the_traces_are_those_of_the_run(tmp_path: Path) -> None:
    run = with_traces(make_run(tmp_path / "a", "tracelift", 3, 0.75))
    data = traces_data([load_history(run)])
    first, second = data["groups"]
    texts = data["texts"]
    assert (first[:3], second[1], data["total"]) == ([0, 1, 1], 2, 2)
    assert (texts[first[3]], first[4], texts[first[5]]) == ("p", "math", "What is 3 + 4?")
    assert first[6:9] == [0.5, 2, 4]
    good, leaky, open_tag = first[9]
    assert (texts[good[0]], good[1:4]) == ("3 + 4 is the sum", [0.9, 0.25, 0.5])
    assert [texts[verdict[0]] for verdict in leaky[10]] == ["wrong_answer", "passed"] and leaky[8] == 1
    assert (texts[open_tag[6]], open_tag[9], open_tag[10], open_tag[11]) == ("unclosed", None, [], None)
    assert good[9] == [[4.0, 3.0, 2.0, 1.0, 0.0], 0.4, 0.8] and texts[good[11][0]] == "passed"


def test_the_answers_without_a_trace_are_the_group_s(tmp_path: Path) -> None:
    run = with_traces(make_run(tmp_path / "a", "tracelift", 3, 0.75))
    data = traces_data([load_history(run)])
    shown = [[data["texts"][outcome], data["texts"][artifact]] for outcome, artifact, _, _ in data["groups"][0][10]]
    assert shown == [["passed", "7"], ["wrong_answer", "7"]] * 2


def test_a_group_without_answers_and_a_record_of_an_older_version_have_none(tmp_path: Path) -> None:
    run = with_traces(make_run(tmp_path / "a", "tracelift", 3, 0.75), steps=1, baseline=Baseline(2, 4))
    lines = (run / "trajectories.jsonl").read_text().splitlines()
    older = [json.loads(line) | {"step": 2, "group": 2} for line in lines]
    for record in older:
        del record["baseline_verdicts"]
    (run / "trajectories.jsonl").write_text("\n".join([*lines, *map(json.dumps, older)]) + "\n")
    assert [each[6:9] + each[10:] for each in traces_data([load_history(run)])["groups"]] == [[0.5, 2, 4, []]] * 2


def test_staleness_counts_from_the_version_that_took_the_batch(tmp_path: Path) -> None:
    run = with_traces(make_run(tmp_path / "a", "tracelift", 3, 0.75), steps=3)
    metrics = run / "metrics.jsonl"
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    for record in records:
        if record["kind"] == "training":
            record["stream/version"] = float(min(record["step"], 2))
    metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    groups = traces_data([load_history(run)])["groups"]
    assert [each[9][0][4] for each in groups] == [0, 1, 2]


def test_a_long_run_is_thinned_evenly_and_a_long_text_is_cut() -> None:
    groups = [(0, [number] * 10) for number in range(1000)]
    kept = list(evenly(groups, most=100))
    assert [group[0] for _, group in kept] == list(range(0, 1000, 100))
    assert evenly(groups, most=10_000) is groups
    texts = Texts()
    assert texts.number("x" * (MOST_CHARS + 5)) == 0 and texts.all[0].endswith("… [5 more characters]")
    assert (texts.number(None), texts.number("y"), texts.number("y")) == (-1, 1, 1)


def test_of_a_run_that_is_larger_than_memory_should_hold_no_more_is_kept_than_twice_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MOST_TRACES", 12)
    held = []
    monkeypatch.setattr(traces, "evenly", lambda groups, most: held.append(len(groups)) or evenly(groups, most))
    run = load_history(write_long_run(make_run(tmp_path / "a", "tracelift", 3, 0.75), groups=100))
    data = traces_data([run])
    size = len(data["groups"][0][9])
    assert data["total"] == 100 and held == [pytest.approx(24 // size, abs=24 // size // 2)]
    steps = [each[1] for each in data["groups"]]
    assert steps[0] == 1 and steps[-1] > 50 and len(steps) == 12 // size


def test_twenty_thousand_traces_of_usual_length_make_a_page_that_can_be_sent(long_report: Path) -> None:
    text = long_report.read_text()
    data = unpacked(text[text.index('id="data">') :].partition(">")[2].partition("<")[0])
    assert sum(len(each[9]) for each in data["groups"]) == MOST_TRACES and data["total"] == len(data["groups"])
    characters = sum(map(len, data["texts"]))
    assert 0.8 * MOST_TEXT < characters <= MOST_TEXT and len(data["texts"]) > 100_000
    assert len(text) < 0.5 * characters


def test_more_text_than_a_page_holds_leaves_fewer_groups_evenly_over_the_run(tmp_path: Path) -> None:
    run = load_history(write_long_run(make_run(tmp_path / "a", "tracelift", 3, 0.75), groups=40))
    whole = sum(map(len, traces_data([run])["texts"]))
    half = traces_data([run], most_text=whole // 2)
    assert sum(map(len, half["texts"])) <= whole // 2 and half["total"] == 40
    steps = [each[1] for each in half["groups"]]
    assert 15 <= len(steps) <= 20 and set(steps) <= set(range(1, 41)) and steps[-1] >= 37
    assert max(later - one for one, later in pairwise(steps)) <= 3
    assert len(traces_data([run], most_text=1)["groups"]) == 1


def test_every_question_has_its_curves_and_an_unmeasured_one_is_left_out(tmp_path: Path) -> None:
    run = load_history(make_run(tmp_path / "a", "tracelift", 3, 0.75))
    parsed = page_of(run.path)
    labels = [attributes["aria-label"] for tag, attributes in parsed.elements if tag == "svg"]
    assert labels == ["held-out accuracy", "held-out uplift", "reward"]
    assert len(QUESTIONS) == 5
    assert chart_svg("none", ["no/such"], [run]) == ""


def test_curves_are_called_by_what_tells_them_apart() -> None:
    names = ["evaluation/math/accuracy", "evaluation/code/accuracy", "pools/a/late_calls", "pools/a/restarts", "time/x"]
    assert measured([r"evaluation/.*/accuracy"], names) == {
        "code": "evaluation/code/accuracy",
        "math": "evaluation/math/accuracy",
    }
    assert list(measured([r"pools/.*/restarts", r"pools/.*/late_calls"], names)) == ["restarts", "late_calls"]
    assert measured(["time/x", "time/y"], names) == {"x": "time/x"}
    assert measured(["none"], names) == {}


def test_a_curve_takes_the_colours_of_the_page(tmp_path: Path) -> None:
    runs = [load_history(make_run(tmp_path / name, "tracelift", 3, 0.75)) for name in ("a", "b")]
    svg = chart_svg("A < B", ["reward/mean"], runs)
    assert "currentColor" in svg and "var(--faint)" in svg and "#1234" not in svg
    assert "A &lt; B" in svg and "1: mean" in svg and "2: mean" in svg


def test_a_chart_says_at_each_step_what_was_measured_there(tmp_path: Path) -> None:
    run = load_history(make_run(tmp_path / "a", "tracelift", 3, 0.75))
    svg = chart_svg("both", ["reward/mean", "evaluation/math/accuracy"], [run])
    strips = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"[^>]*><title>([^<]*)</title></rect>', svg)
    assert [text.split("\n")[0] for _, _, text in strips] == [f"step {step}" for step in range(11)]
    assert [strips[place][2].split("\n")[1:] for place in (0, 4, 10)] == [
        ["evaluation/math 0.5"],
        ["reward/mean 0.4"],
        ["reward/mean 1", "evaluation/math 0.75"],
    ]
    ends = [float(begin) + float(width) for begin, width, _ in strips]
    assert all(abs(end - float(begin)) < 0.11 for end, (begin, _, _) in zip(ends, strips[1:], strict=False))


def test_of_many_steps_every_few_have_a_strip(tmp_path: Path) -> None:
    run = load_history(make_run(tmp_path / "a", "tracelift", 3, 0.75))
    long = replace(run, training=tuple(Point(step, {"reward/mean": 0.5}) for step in range(1, 601)))
    assert chart_svg("reward", ["reward/mean"], [long]).count("<title>") == MOST_STRIPS == 200


def test_two_runs_are_compared_with_an_interval(tmp_path: Path) -> None:
    paths = [with_traces(make_run(tmp_path / name, name, 0, end)) for name, end in (("exec_only", 0.6), ("b", 0.8))]
    table = difference(*map(load_history, paths))
    assert table is not None
    assert ("math", "accuracy with trace", "0.600 ± 0.040", "0.800 ± 0.040", "+0.200 [+0.089, +0.311]") in table.rows
    assert ("math", "uplift", "0.350", "0.550", "+0.200") in table.rows
    parsed = Parsed(write_report(paths, tmp_path / "out").page.read_text())
    assert "+0.200 [+0.089, +0.311]" in parsed.text and len(parsed.data["runs"]) == 2
    assert {each[0] for each in parsed.data["groups"]} == {0, 1}


def test_a_run_without_traces_or_evaluations_has_a_page_too(tmp_path: Path) -> None:
    bare = make_run(tmp_path / "a", "tracelift", 0, 0.7, evaluated=())
    (bare / "trajectories.jsonl").unlink(missing_ok=True)
    parsed = Parsed(write_report([bare]).page.read_text())
    assert "No evaluation yet." in parsed.text and parsed.data["groups"] == []
    assert difference(load_history(bare), load_history(bare)) is None


@pytest.mark.parametrize("name", ["page.html", "page.css", *SCRIPTS])
def test_the_parts_of_the_page_travel_with_an_installation(name: str) -> None:
    setup = (Path(__file__).parents[3] / "setup.cfg").read_text()
    assert f"    *.{name.rpartition('.')[2]}\n" in setup
