import json

import pytest

from tests.tiny import make_tokenizer
from tracelift_ray.errors import DataError
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.tasks.prompts import PromptRenderer
from tracelift_ray.training.supervised_data import clean_reasoning, completion_text, encode, load_examples

GSM8K = {
    "question": "Sam has 2 bags of 3 apples and gives 1 away. How many are left?",
    "answer": "There are 2*3=<<2*3=6>>6 apples.\nOne goes: 6-1=<<6-1=5>>5.\n#### 5",
}
TRACE = {
    "reasoning": "Multiply the bags by the apples.",
    "rubric": {**dict.fromkeys(MathTask.dimensions, 4), "total": 1.0},
}
GROUP = {
    "problem_id": "g1",
    "source": "made",
    "task_type": "arithmetic",
    "problem": "Two bags of three apples. How many apples?",
    "reference_solution": "2*3 = 6 #### 6",
    "positive_pool": [TRACE, {**TRACE, "reasoning": "Count three apples twice."}],
    "negative_bank": [{**TRACE, "reasoning": "Add one.", "negative_kind": "wrong", "rubric": {**TRACE["rubric"]}}],
    "metadata": {},
}


@pytest.fixture
def write(tmp_path):
    def to_file(*records) -> str:
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return str(path)

    return to_file


@pytest.mark.parametrize("format", ["gsm8k", "auto"])
def test_a_worked_solution_loses_its_notes_and_its_answer_line(write, format):
    (example,) = load_examples(write(GSM8K), format)
    assert example.reasoning == "There are 2*3=6 apples.\nOne goes: 6-1=5."
    assert example.problem.answer == "5"


def test_a_file_may_say_itself_how_it_is_read(write):
    asked = {"text": "1 + 1?", "worked": "Add the ones.", "gold": 2}
    own = "statement=text&solution=worked&answer=gold&task==math"
    (example,) = load_examples(f"{write(asked)}?{own}", "gsm8k")
    assert (example.problem.statement, example.reasoning) == ("1 + 1?", "Add the ones.")
    assert len(load_examples(f"{write(GROUP)}?format=groups", "gsm8k")) == 2


@pytest.mark.parametrize("format", ["groups", "auto"])
def test_groups_give_every_positive_trace_and_no_negative_one(write, format):
    examples = load_examples(write(GROUP), format)
    assert [e.reasoning for e in examples] == ["Multiply the bags by the apples.", "Count three apples twice."]


def test_a_program_is_no_reasoning(write):
    code = {
        "id": "c1",
        "task": "code",
        "statement": "Print 1.",
        "tests": {"kind": "stdio", "inputs": [""], "outputs": ["1"]},
        "solution": "print(1)",
    }
    with pytest.raises(DataError, match="no trace to learn from"):
        load_examples(write(code), "problems")


def test_lines_that_only_state_the_answer_are_dropped_and_calculations_stay():
    text = "Half of 8 is 4.\nSo, the final answer is 4.\nThe answer is given by 3+1.\n\\boxed{4}\nAnswer: 4\n#### 4"
    assert clean_reasoning(text) == "Half of 8 is 4."
    assert clean_reasoning("<reasoning>The answers are added: 1+3=<<1+3=4>>4.</reasoning>") == (
        "The answers are added: 1+3=4."
    )


def test_completions_follow_the_spacing_of_the_prompt():
    assert completion_text("Q\n<reasoning>\n", "r", opened=True) == "r\n</reasoning>"
    assert completion_text("<math> q <reasoning>", "r", opened=True) == " r </reasoning>"
    assert completion_text("Q\n", "r", opened=False) == "<reasoning>\nr\n</reasoning>"


def test_examples_are_the_planners_own_prompt_and_a_closed_tag(write):
    renderer = PromptRenderer(make_tokenizer(), "plain")
    examples = load_examples(write(GSM8K), "gsm8k")
    (item,), left_out = encode(examples, renderer, max_length=1000)
    assert left_out == 0
    assert item.prompt_ids == renderer.planner(examples[0].problem).token_ids
    assert renderer.tokenizer.decode(item.completion_ids) == examples[0].reasoning + "\n</reasoning>"


def test_long_examples_are_left_out_and_counted_but_not_all_of_them(write):
    renderer = PromptRenderer(make_tokenizer(), "plain")
    long = {**GSM8K, "question": GSM8K["question"] + " Explain." * 50}
    examples = load_examples(write(GSM8K, long), "gsm8k")
    short = len(encode(examples[:1], renderer, max_length=10_000)[0][0])
    kept, left_out = encode(examples, renderer, max_length=short)
    assert len(kept) == 1 and left_out == 1
    with pytest.raises(DataError, match=r"every one of 2 examples has more than max_length=10 tokens"):
        encode(examples, renderer, max_length=10)
