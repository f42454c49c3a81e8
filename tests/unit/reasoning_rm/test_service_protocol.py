"""The scoring protocol: every form of request and answer that is read, and every one that is refused."""

import json

import pytest

from tracelift_ray.reasoning_rm.model.inputs import render_input
from tracelift_ray.reasoning_rm.service.protocol import (
    RequestRefused,
    UnreadableAnswer,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from tracelift_ray.types import CodeTests, Problem, RubricScore

MATH = Problem("m", "math", "Add 2 and 3.", task_type="arithmetic", answer="5")
CODE = Problem(
    "c", "code", "Add one.", task_type="", tests=CodeTests("stdio", inputs=("1\n", "2\n"), outputs=("2\n", "3\n"))
)


def read(body, max_items=8, task="math"):
    return read_request(body if isinstance(body, bytes) else json.dumps(body).encode(), max_items, task)


BOUNDED = Problem("b", "math", "Add n to 3.", task_type="arithmetic", tests_text=" n <= 10\n\nn > 0 ")


@pytest.mark.parametrize("problem", [MATH, CODE, BOUNDED])
def test_the_other_side_reads_the_very_input_that_a_model_here_would_read(problem):
    request = read(write_request([(problem, "some steps")], 512, send_tests=True))
    ((received, reasoning),) = request.items
    assert render_input(received, reasoning) == render_input(problem, "some steps")
    assert (request.max_length, request.batch_size, request.dimensions) == (512, 1, False)


def test_tests_are_left_out_for_services_that_know_none():
    (item,) = write_request([(CODE, "steps")], 512, send_tests=False)["items"]
    assert set(item) == {"problem", "reasoning", "task_name", "task_type"}


def test_the_shortest_request_is_enough():
    request = read({"items": [{"problem": "p", "reasoning": "r"}]}, task="code")
    ((problem, reasoning),) = request.items
    assert (problem.task, problem.task_type, problem.statement, reasoning) == ("code", "code", "p", "r")
    assert (request.max_length, request.batch_size) == (None, None)


ITEM = {"problem": "p", "reasoning": "r"}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "no JSON"),
        (b'{"items": [', 400, "no JSON"),
        (b"\xff\xfe{}", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        ([ITEM], 422, "must be an object"),
        ({}, 422, "items must be a list"),
        ({"items": []}, 422, "at least one"),
        ({"items": ITEM}, 422, "items must be a list"),
        ({"items": [ITEM] * 9}, 422, "9, at most 8"),
        ({"items": [ITEM, "text"]}, 422, "items[1] must be an object"),
        ({"items": [{"problem": "p"}]}, 422, "items[0].reasoning is missing"),
        ({"items": [{"problem": 7, "reasoning": "r"}]}, 422, "items[0].problem must be text"),
        ({"items": [ITEM | {"task_name": "chess"}]}, 422, "task_name must be math or code"),
        ({"items": [ITEM | {"answer": "7"}]}, 422, "unknown field 'answer'"),
        ({"items": [ITEM], "max_lenght": 5}, 422, "unknown field 'max_lenght'"),
        ({"items": [ITEM], "max_length": 0}, 422, "max_length must be a whole number"),
        ({"items": [ITEM], "batch_size": True}, 422, "batch_size must be a whole number"),
        ({"items": [ITEM], "batch_size": 1.5}, 422, "batch_size must be a whole number"),
        ({"items": [ITEM], "dimensions": "yes"}, 422, "dimensions must be true or false"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(body, status, reason):
    with pytest.raises(RequestRefused) as caught:
        read(body)
    assert caught.value.status == status
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_labels_come_on_request():
    scores = [RubricScore((4.0, 3.0, 2.0, 1.0, 0.0), 0.25, 0.5, True)]
    plain, full = (read({"items": [ITEM], "dimensions": asked}) for asked in (False, True))
    assert write_answer(plain, scores) == {"scores": [0.5]}
    answer = write_answer(full, scores)
    assert answer["scores"] == [0.5] and answer["totals"] == [0.25] and answer["truncated"] == [True]
    assert answer["dimensions"][0]["problem_understanding"] == 4.0
    assert answer["dimensions"][0]["answer_support"] == 0.0


@pytest.mark.parametrize("key", ["scores", "results", "outputs", "data"])
@pytest.mark.parametrize("name", ["total_score", "score", "reward", "total", "value"])
def test_scores_are_found_under_each_of_the_known_keys(key, name):
    body = json.dumps({"model": "m", key: [0.25, {name: 1, "comment": "fine"}]}).encode()
    assert read_answer(body, 2) == [0.25, 1.0]


def test_a_bare_list_is_an_answer_and_rounding_is_forgiven():
    assert read_answer(b"[1.0000001, -0.0000001]", 2) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no JSON"),
        (b"<html>busy</html>", "no JSON"),
        (b'{"scores": [0.5', "no JSON"),
        (b'{"score": 0.5}', "none of the keys"),
        (b'{"scores": 0.5}', "not a list"),
        (b'{"scores": []}', "0 scores came for 1"),
        (b'{"scores": [0.5, 0.5]}', "2 scores came for 1"),
        (b'{"scores": [true]}', "true, not a number"),
        (b'{"scores": ["0.5"]}', "not a number"),
        (b'{"scores": [null]}', "null, not a number"),
        (b'{"scores": [[0.5]]}', "not a number"),
        (b'{"scores": [{"points": 0.5}]}', "none of the keys"),
        (b'{"scores": [{"score": null}]}', "null, not a number"),
        (b'{"scores": [NaN]}', "NaN, outside [0, 1]"),
        (b'{"scores": [Infinity]}', "Infinity, outside [0, 1]"),
        (b'{"scores": [1.01]}', "1.01, outside [0, 1]"),
        (b'{"scores": [-0.2]}', "outside [0, 1]"),
        (b'{"scores": [1' + b"0" * 400 + b"]}", "outside [0, 1]"),
    ],
)
def test_an_answer_without_a_score_for_each_trace_is_refused(body, reason):
    with pytest.raises(UnreadableAnswer) as caught:
        read_answer(body, 1)
    assert reason in str(caught.value) and len(str(caught.value)) < 200
