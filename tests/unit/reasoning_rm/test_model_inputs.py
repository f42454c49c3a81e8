"""The RM's input text is a data format: these tests pin every character."""

import pytest

from tracelift_ray.reasoning_rm.model.inputs import hide_problem, render_input
from tracelift_ray.types import CodeTests, Problem


def test_math_input_has_each_text_stripped_and_lines_joined_by_one_newline():
    problem = Problem(id="1", task="math", statement="  How many?\n", task_type=" word problem ", answer="3")
    assert render_input(problem, "\n1 + 2 = 3\nso three \n").text == (
        "<task>math</task>\n<type>word problem</type>\n<problem>\nHow many?\n</problem>\n"
        "<reasoning>\n1 + 2 = 3\nso three\n</reasoning>"
    )


def test_function_tests_are_their_asserts_one_a_line():
    tests = CodeTests("function", asserts=("assert f(1) == 2", " assert f(2) == 3 "), setup="import math")
    problem = Problem(id="1", task="code", statement="Add one.", task_type="algorithm", tests=tests)
    assert render_input(problem, "Return n + 1.").text == (
        "<task>code</task>\n<type>algorithm</type>\n<problem>\nAdd one.\n</problem>\n"
        "<tests>\nassert f(1) == 2\nassert f(2) == 3\n</tests>\n"
        "<reasoning>\nReturn n + 1.\n</reasoning>"
    )


def test_stdio_tests_are_blocks_of_input_and_output():
    tests = CodeTests("stdio", inputs=("1 2\n", "3"), outputs=("3\n", "6"))
    problem = Problem(id="1", task="code", statement="Sum.", tests=tests)
    assert "<tests>\ninput:\n1 2\noutput:\n3\ninput:\n3\noutput:\n6\n</tests>\n" in render_input(problem, "Add.").text


@pytest.mark.parametrize("task", ["math", "code"])
@pytest.mark.parametrize("text", ["n <= 10", "assert f( 1 )==2   # one\n\nassert f(2) == 3", "Read n.\n\tPrint n + 1."])
def test_tests_or_constraints_in_text_stand_as_they_are_of_any_task(task, text):
    """Also beside runnable tests that were read from them, of which a run may keep fewer."""
    for tests in (None, CodeTests("function", asserts=("assert f(1) == 2",))):
        problem = Problem("1", task, "Add one.", task_type="sums", tests=tests, tests_text=f"\n {text} \n")
        assert render_input(problem, "Add.").text == (
            f"<task>{task}</task>\n<type>sums</type>\n<problem>\nAdd one.\n</problem>\n"
            f"<tests>\n{text}\n</tests>\n<reasoning>\nAdd.\n</reasoning>"
        )
    assert "tests" not in render_input(hide_problem(problem), "Add.").text


def test_a_problem_without_tests_has_no_tests_block():
    assert "tests" not in render_input(Problem(id="1", task="code", statement="Sum."), "Add.").text


def test_the_span_is_the_stripped_trace():
    rendered = render_input(Problem(id="1", task="math", statement="Q"), "  a trace ")
    assert rendered.text[rendered.start : rendered.end] == "a trace"
