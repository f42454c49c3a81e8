"""The demo's tokenizer reads every text of the world without an unknown, and writes text that is fit to run."""

from random import Random

import pytest

from tracelift_ray.demo.flaws import KINDS, perturb
from tracelift_ray.demo.source import demo_problems
from tracelift_ray.demo.tokenizer import build_tokenizer, vocabulary
from tracelift_ray.demo.traces import artifact_of, clean_lines, render
from tracelift_ray.demo.training import Part, collate_rows
from tracelift_ray.demo.world import read_statement
from tracelift_ray.reasoning_rm.model.inputs import render_input
from tracelift_ray.tasks.prompts import PromptRenderer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer().save_pretrained(directory)
    return load_tokenizer(str(directory))


@pytest.fixture(scope="module")
def samples():
    """(problem, trace, artifact), clean and flawed."""
    rng = Random(1)
    found = []
    for task in ("math", "code"):
        for problem in demo_problems(task, 100, 3, "heldout"):
            world = read_statement(task, problem.statement)
            for lines in (clean_lines(world), perturb(world, rng.choice(KINDS), rng)):
                if lines is not None:
                    found.append((problem, render(task, lines), artifact_of(task, lines)))
    return found


def test_prompts_traces_and_artifacts_hold_no_unknown_word_and_one_beginning(tokenizer, samples):
    renderer = PromptRenderer(tokenizer, "demo")
    for problem, reasoning, artifact in samples:
        prompts = [renderer.planner(problem), renderer.executor(problem, reasoning), renderer.executor(problem, None)]
        for prompt in prompts:
            assert (
                prompt.token_ids.count(tokenizer.bos_token_id)
                == 1
                == prompt.token_ids.index(tokenizer.bos_token_id) + 1
            )
            assert tokenizer.unk_token_id not in prompt.token_ids
        assert tokenizer.unk_token_id not in tokenizer(artifact or "0")["input_ids"]


def test_decoding_gives_the_words_back_with_their_tags_and_without_the_end(tokenizer, samples):
    for _, reasoning, artifact in samples:
        text = f"{reasoning} </reasoning> <answer> {artifact or 0}"
        ids = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
        assert tokenizer.decode(ids, skip_special_tokens=True).rstrip(" ") == text


def test_a_program_decoded_bit_by_bit_after_its_prompt_does_not_begin_with_a_space(tokenizer):
    from tokenizers.decoders import DecodeStream

    prompt = tokenizer("<code> read n , try 2 . print it . <answer>")["input_ids"]
    program = "n=int(input()) ; n= n + 7 ; print(n)"
    stream = DecodeStream(skip_special_tokens=True, ids=prompt)
    ids = tokenizer(program, add_special_tokens=False)["input_ids"]
    text = "".join(stream.step(tokenizer.backend_tokenizer, token) or "" for token in ids)
    assert text.rstrip(" ") == program
    compile(text, "program", "exec")


def test_the_reasoning_rms_input_is_read_across_its_lines(tokenizer, samples):
    for problem, reasoning, _ in samples:
        ids = tokenizer(render_input(problem, reasoning).text)["input_ids"]
        tokens = tokenizer.convert_ids_to_tokens(ids)
        assert tokens[1:4] == ["<task>", problem.task, "</task>"]
        assert tokens[-1] == "</reasoning>" and "</problem>" in tokens
        written = problem.tests is None or all(
            value.isdecimal() and int(value) < 100 for value in problem.tests.outputs
        )
        assert not written or tokenizer.unk_token_id not in ids


def test_numbers_are_one_token_up_to_ninety_nine(tokenizer):
    unknown = [number for number in range(120) if tokenizer.unk_token_id in tokenizer(str(number))["input_ids"]]
    assert unknown == list(range(100, 120))


def test_training_rows_have_the_ids_that_the_tokenizer_gives(tokenizer):
    row = [Part("<math> tom has 2 pens .", False), Part("<reasoning>", False), Part("2 + 3 </reasoning> <eos>", True)]
    ids, learned = collate_rows([row, [Part("2", True)]])
    text = " ".join(part.text for part in row)
    assert ids[0].tolist() == tokenizer(text)["input_ids"]
    assert learned.sum(1).tolist() == [5, 1]
    assert ids[1].tolist() == [1, vocabulary()["2"]] + [tokenizer.pad_token_id] * (ids.shape[1] - 2)
