"""Multiple choice: the artifact is the letter of an option. Formats: MMLU and ARC.

The statement ends with the options, one a line (``A. Paris``), so planner, executor and reasoning RM all see them. A
trace leaks where it names the right option as the answer, by its letter or its text; weighing the options is no leak.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from tracelift_ray.records import Record, RecordError, as_text, items, mapping, optional_text, required_text
from tracelift_ray.reward.forms import AnswerForm
from tracelift_ray.tasks.answers import before_next_problem, last_box
from tracelift_ray.tasks.base import Format, Reference, Task, Tools, own_id
from tracelift_ray.tasks.math import MathTask
from tracelift_ray.tasks.traces import masked
from tracelift_ray.types import Artifact, Problem, Verdict

CHOICE = "choice"
LETTERS = string.ascii_uppercase
_OPTION_LINE = re.compile(r"^\(?([A-Z])[.):][ \t]*(\S.*)$")
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_STATED = re.compile(
    r"\b(?:answer|choice|option)(?:\s+to\s+(?:the|this)\s+question)?(?:\*\*)?\s*(?:is|(?:would|should|must)\s+be|:|=)"
    r"(?:\s*:)?(?:\*\*)?[ \t]*([^\n]*)",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\boxed\s*\{([^{}\n]*)\}")
_LETTER = r"(?-i:[A-Z])"
#: The article and the pronoun look like letters of options.
_NO_WORD = r"(?![\w'\u2019])(?!(?<=[AI])[ \t]+(?!because|since|as|is|so)[a-z])"
_NAMED = re.compile(rf"^\W*(?:(?:option|choice|answer|letter)\b\W*)?({_LETTER}){_NO_WORD}", re.IGNORECASE)
_ALONE = re.compile(r"^[\W_]*([A-Za-z])[\W_]*$")
_LISTED = re.compile(r"^[\W_]*([A-Z])(?:[.):,]|[\W_]*$)")
_VERDICTS = (
    re.compile(rf"(?<![\w'])\(?({_LETTER})\)?(?:[.:)][^\n.,;]{{0,60}}?)?\s+is\s+(?:the\s+)?(?:correct|right|best)\b"),
    re.compile(rf"\b(?:[Cc]hoose|[Pp]ick|[Ss]elect)\s+(?:option\s+)?\(?({_LETTER}){_NO_WORD}"),
    re.compile(
        rf"\b(?:[Ss]o|[Tt]hus|[Tt]herefore|[Hh]ence)\b[^\n.]{{0,30}}?\(?\b({_LETTER})\)?[^\w\n]*$", re.MULTILINE
    ),
    re.compile(rf"^(?:[^\w\n]|_)*({_LETTER})(?:[^\w\n]|_)*$", re.MULTILINE),
)


def with_options(question: str, options: Sequence[str]) -> str:
    """A statement: the question, and a line for each option."""
    lines = [f"{letter}. {' '.join(option.split())}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, "", *lines])


def options_of(statement: str) -> tuple[str, ...]:
    """The options at the end of a statement; none where its last lines are not A, B, … in this order."""
    found: list[str] = []
    letters = ""
    for line in reversed(statement.rstrip().split("\n")):
        match = _OPTION_LINE.match(line.strip())
        if match is None:
            break
        letters = match[1] + letters
        found.insert(0, match[2].strip())
    return tuple(found) if len(found) >= 2 and LETTERS.startswith(letters) else ()


def parse_mmlu(record: Record) -> Problem:
    """MMLU (Hendrycks et al. 2021): ``question``, ``choices`` and ``answer``, an index from 0 or a letter; the subject
    becomes the task type."""
    question = required_text(record, "question")
    options = _options(record.get("choices"), "choices")
    answer = _letter(record.get("answer"), "answer", options)
    return _problem(record, "mmlu", question, options, answer, optional_text(record, "subject"))


def parse_arc(record: Record) -> Problem:
    """ARC (Clark et al. 2018) and what is published like it: ``choices`` holds ``text`` and ``label``, and
    ``answerKey`` is a label. Labels become A, B, … in their order."""
    question = required_text(record, "question")
    choices = mapping(record.get("choices"), "choices")
    options = _options(choices.get("text"), "choices.text")
    labels = [as_text(each, "choices.label") for each in items(choices.get("label"), "choices.label")]
    if len(labels) != len(options):
        raise RecordError("wrong_value", "choices.label", f"must be as many as choices.text, which are {len(options)}")
    key = required_text(record, "answerKey")
    if key not in labels:
        raise RecordError("no_reference", "answerKey", f"must be one of {', '.join(labels)}", key)
    return _problem(record, "arc", question, options, LETTERS[labels.index(key)], None)


def _problem(
    record: Record, name: str, question: str, options: Sequence[str], answer: str, task_type: str | None
) -> Problem:
    statement = with_options(question, options)
    id = own_id(record, name, statement, answer)
    return Problem(id=id, task=CHOICE, statement=statement, task_type=task_type or CHOICE, answer=answer)


def _options(value: Any, field: str) -> tuple[str, ...]:
    options = tuple(as_text(each, f"{field}[{i}]") for i, each in enumerate(items(value, field)))
    if not 2 <= len(options) <= len(LETTERS) or not all(options):
        raise RecordError("wrong_value", field, f"must be 2 to {len(LETTERS)} options, none empty", value)
    return options


def _letter(value: Any, field: str, options: Sequence[str]) -> str:
    """The letter that an index from 0, or a letter, means."""
    known = LETTERS[: len(options)]
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
        return known[value]
    if isinstance(value, str) and len(value.strip()) == 1 and value.strip().upper() in known:
        return value.strip().upper()
    rule = f"must be a letter from A to {known[-1]} or an index from 0 to {len(known) - 1}"
    raise RecordError("no_reference", field, rule, value)


class ChoiceTask(Task):
    """Questions with options of which one is right."""

    name = CHOICE
    dimensions = MathTask.dimensions
    reward_form = AnswerForm()
    formats: ClassVar = {
        "mmlu": Format(parse_mmlu, frozenset({"question", "choices", "answer"})),
        "arc": Format(parse_arc, frozenset({"question", "choices", "answerKey"})),
    }
    #: The letters of the options, in order.
    prompt_variables = ("letters",)

    def values(self, problem: Problem) -> dict[str, Any]:
        return {"letters": list(LETTERS[: len(options_of(problem.statement))])}

    def chance(self, problem: Problem) -> float:
        """One option of all."""
        options = options_of(problem.statement)
        return 1 / len(options) if options else 0.0

    def read_artifact(self, problem: Problem, text: str) -> str | None:
        """The letter: after ``####``, else a stated answer, else in a box, else alone, else by the option's text."""
        options = options_of(problem.statement)
        text = before_next_problem(text)
        said = [
            *(match[1] for match in _HASHES.finditer(text)),
            *(match[1] for match in reversed(list(_STATED.finditer(text)))),
            last_box(text) or "",
        ]
        found = (_said_letter(each, options) for each in said)
        stated = next((letter for letter in found if letter), None)
        return stated or _letter_alone(text, options) or _only_option_in(text, options)

    def leaks(self, problem: Problem, reasoning: str) -> bool:
        """Whether the right option is named as the answer."""
        return next(_leaks(problem, reasoning), None) is not None

    def mask(self, problem: Problem, reasoning: str) -> str:
        """The places that name it are masked."""
        while spans := list(_leaks(problem, reasoning)):
            reasoning = masked(reasoning, spans)
        return reasoning

    def verify(self, problem: Problem, artifact: Artifact, tools: Tools) -> Verdict:
        if problem.answer is None:
            raise ValueError(f"problem {problem.id}: a problem of task choice needs the letter of the right option")
        if artifact.content is None:
            return Verdict("no_artifact")
        return Verdict("passed", 1) if artifact.content == problem.answer else Verdict("wrong_answer")

    def read_statement(self, record: Record) -> str:
        """The statement; the options are at its end, or in ``choices``."""
        statement = required_text(record, "statement")
        if record.get("choices") is not None:
            return with_options(statement, _options(record["choices"], "choices"))
        if not options_of(statement):
            rule = "must end with the options, one a line (A. …, B. …); or give them as the list choices"
            raise RecordError("no_options", "statement", rule)
        return statement

    def read_reference(self, record: Record) -> Reference:
        """The field ``answer``: a letter, or an index from 0."""
        return Reference(_letter(record.get("answer"), "answer", options_of(self.read_statement(record))))

    def group_reference(self, record: Record) -> Reference:
        """The letter in ``answer``, where the statement has options."""
        options = options_of(required_text(record, "problem"))
        given = options and record.get("answer") is not None
        return Reference(_letter(record["answer"], "answer", options) if given else None)

    def complete(self, problem: Problem) -> Problem:
        """The problem as it is; it must have options and an answer."""
        if problem.answer is None:
            raise RecordError("no_reference", "answer", "must be the letter of an option at the end of the problem")
        return problem

    def cut_statement(self, statement: str, limit: int) -> str:
        """The question is cut, the options stay whole."""
        options = options_of(statement)
        question = "\n".join(statement.rstrip().split("\n")[: -len(options) or None]).rstrip()
        kept = with_options("", options)
        return with_options(question[: max(limit - len(kept), 0)].rstrip(), options) if options else statement[:limit]


def _said_letter(said: str, options: Sequence[str]) -> str | None:
    """The letter that a short statement names: the text of an option, or a letter at its beginning."""
    known = LETTERS[: len(options)]
    plain = _plain(said)
    texts = [_plain(option) for option in options]
    for letter, text in zip(known, texts, strict=True):
        if plain and (plain == f"{letter.lower()} {text}" or (plain == text and texts.count(text) == 1)):
            return letter
    match = _NAMED.match(said) or _ALONE.match(said)
    return match[1].upper() if match and match[1].upper() in known else None


def _letter_alone(text: str, options: Sequence[str]) -> str | None:
    """The letter that the first line begins with, unless other lines list other options, else the last line of a
    letter alone."""
    known = LETTERS[: len(options)]
    lines = [line for line in text.split("\n") if line.strip()]
    listed = {match[1] for line in lines if (match := _LISTED.match(line))}
    if lines and (match := _LISTED.match(lines[0])) and len(listed) == 1 and match[1] in known:
        return match[1]
    alone = (match[1].upper() for line in reversed(lines) if (match := _ALONE.match(line)))
    return next((letter for letter in alone if letter in known), None)


def _only_option_in(text: str, options: Sequence[str]) -> str | None:
    """The letter of the one option whose text occurs in a text."""
    words = f" {_plain(text)} "
    plain = [(letter, _plain(option)) for letter, option in zip(LETTERS, options, strict=False)]
    found = [letter for letter, option in plain if option and f" {option} " in words]
    return found[0] if len(found) == 1 else None


def _plain(text: str) -> str:
    """A text's words, in lower case."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _leaks(problem: Problem, reasoning: str) -> Iterator[tuple[int, int]]:
    """Places that name the right option as the answer."""
    options = options_of(problem.statement)
    if problem.answer is None or problem.answer not in LETTERS[: len(options)]:
        return
    for pattern in (_HASHES, _STATED, _BOX):
        for match in pattern.finditer(reasoning):
            if _said_letter(match[1], options) == problem.answer:
                yield match.span(1)
    for pattern in _VERDICTS:
        for match in pattern.finditer(reasoning):
            if match[1] == problem.answer:
                yield match.span(1)
    text = options[LETTERS.index(problem.answer)]
    if not _plain(text):
        return
    for match in re.finditer(
        rf"(?<!\w)({re.escape(text)})\s+is\s+(?:the\s+)?(?:correct|right|best)\b", reasoning, re.IGNORECASE
    ):
        yield match.span(1)
