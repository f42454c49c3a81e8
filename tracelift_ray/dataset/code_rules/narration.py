"""Narrates a reference program as a plan in plain English: one step a line, what belongs to a loop set in below it.

The plan says what comes in, what is built up, what is done in which order, which cases are special, and what is
returned. It holds no program text and none of the program's own names.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tracelift_ray.dataset.code_rules.names import Name, item_noun, name_variables
from tracelift_ray.dataset.code_rules.phrases import Phrases
from tracelift_ray.dataset.code_rules.program import Program
from tracelift_ray.dataset.code_rules.shapes import UNKNOWN, Shape
from tracelift_ray.dataset.code_rules.statements import Line, StatementWords
from tracelift_ray.dataset.code_rules.words import Style, article, listed, plural, sentence, times
from tracelift_ray.dataset.pipeline.stages import Refused

MAX_LINE_WORDS = 60
MAX_LINES = 24
STYLES = 12
_INDENT = "  "
_ASKED = re.compile(r"Write a (?:python )?function to (?P<what>[^.?!]+?) ?\.?", re.IGNORECASE)
_MAX_GOAL_WORDS = 30
_MAX_REPLACEMENTS = 2


@dataclass(frozen=True)
class Vocabulary:
    """The names of all values of a program; shared by the plans of its changed copies."""

    main: Mapping[str, Name]
    helper: Mapping[str, Name]


def vocabulary(program: Program) -> Vocabulary:
    """Names for the values of a program. Raises Refused."""
    main = name_variables(program.main, program.calls)
    if program.helper is None:
        return Vocabulary(main, {})
    taken = {name.words for name in main.values() if name.letter}
    return Vocabulary(main, name_variables(program.helper, _helper_calls(program), taken))


def narrate(program: Program, statement: str, words: Vocabulary, style: Style) -> tuple[Line, ...]:
    """The plan of a program in one style. Raises Refused where it would not read well."""
    own = {program.main.name: ""}
    lines = [Line(0, text, 0) for text in (*goal(statement, style), _introduction(program, words.main))]
    if program.helper is not None:
        helper = program.helper
        own[helper.name] = "the helper's result"
        said = Phrases(words.helper, style, {helper.name: ""} | {program.main.name: "the answer"})
        said.inputs = [argument.arg for argument in helper.args.args]
        inputs = listed([said.name(argument) for argument in said.inputs])
        lines.append(Line(0, f"A helper takes {inputs}:", helper.lineno))
        lines += StatementWords(said, returns="give back").block(helper.body, 1)
    phrases = Phrases(words.main, style, own)
    phrases.inputs = [argument.arg for argument in program.main.args.args]
    lines += StatementWords(phrases).block(program.main.body, 0)
    lines = [Line(line.depth, _smoothed(line.text), line.source) for line in lines]
    _refuse_mush(lines)
    return tuple(lines)


def layout_of(lines: tuple[Line, ...], style: Style) -> str:
    """How a plan is laid out: ``prose`` where nothing is set in, else ``numbered`` or ``dashed``."""
    layout = style.pick("layout", "prose", "numbered", "dashed")
    if layout == "prose" and any(line.depth for line in lines):
        return style.pick("list", "numbered", "dashed")
    return layout


def render(lines: tuple[Line, ...], layout: str) -> str:
    """The plan as text: running sentences, or a list in which what belongs to a loop is set in below it."""
    if layout == "prose":
        return " ".join(sentence(line.text) for line in lines)
    rendered, number = [], 0
    for line in lines:
        if line.depth == 0:
            number += 1
        mark = f"{number}." if line.depth == 0 and layout == "numbered" else "-"
        rendered.append(f"{_INDENT * line.depth}{mark} {sentence(line.text)}")
    return "\n".join(rendered)


def goal(statement: str, style: Style) -> tuple[str, ...]:
    """What the statement asks for, where it says so in one plain sentence."""
    asked = _ASKED.fullmatch(" ".join(statement.split()))
    if asked is None or len(asked["what"].split()) > _MAX_GOAL_WORDS or re.search("[<>{}*`\\\\]", asked["what"]):
        return ()
    start = style.pick("goal", "the goal is to", "the task is to", "what is asked for is to")
    return (f"{start} {asked['what'].strip()}",)


def _introduction(program: Program, names: Mapping[str, Name]) -> str:
    arguments = [argument.arg for argument in program.main.args.args]
    if not arguments:
        raise Refused("the reference program has no input")
    letters = [names[name].words for name in arguments if names[name].letter]
    others = Counter(_described(names[name]) for name in arguments if not names[name].letter)
    parts = [article(noun) if count == 1 else _several(count, noun) for noun, count in others.items()]
    if letters:
        parts.append(f"the number {letters[0]}" if len(letters) == 1 else f"the numbers {listed(letters)}")
    plural_inputs = len(arguments) > 1
    return f"The input{'s are' if plural_inputs else ' is'} {listed(parts)}"


def _several(count: int, noun: str) -> str:
    """``two lists of numbers``."""
    first, of, held = noun.partition(" of ")
    return f"{times(count, first)}{of}{held}"


def _described(name: Name) -> str:
    """An input's noun with what it holds: ``list of numbers``."""
    shape = name.shape
    if shape.kind not in ("list", "tuple", "set") or shape.item in (None, UNKNOWN):
        return name.noun
    return f"{name.noun} of {plural(_held(shape.items))}"


def _held(shape: Shape) -> str:
    noun = item_noun(shape)
    return {"inner list": "list", "element": "value"}.get(noun, noun)


def _helper_calls(program: Program) -> tuple[tuple[object, ...], ...]:
    """Stand-ins for the helper's arguments: numbers, unless they are used as something else."""
    assert program.helper is not None
    names = [argument.arg for argument in program.helper.args.args]
    used_as_whole = {
        node.value.id
        for node in ast.walk(program.helper)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)
    }
    iterated = {
        node.iter.id
        for node in ast.walk(program.helper)
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Name)
    } | {
        node.args[0].id
        for node in ast.walk(program.helper)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("len", "sum", "max", "min", "sorted", "set")
        and node.args
        and isinstance(node.args[0], ast.Name)
    }
    text = "text" in {name.shape.kind for name in name_variables(program.main, program.calls).values()}
    whole: object = "text" if text else [1]
    return (tuple(whole if name in used_as_whole | iterated else 1 for name in names),)


def _smoothed(text: str) -> str:
    text = re.sub(r"\bthe the\b", "the", text)
    return re.sub(r"\bof of\b", "of", text)


def _refuse_mush(lines: list[Line]) -> None:
    if len(lines) > MAX_LINES:
        raise Refused("the plan would be long")
    for line in lines:
        if len(line.text.split()) > MAX_LINE_WORDS:
            raise Refused("a step of the plan would be a very long sentence")
        if line.text.count("(") > 3 or ("((" in line.text and line.text.count(" plus ") > 1):
            raise Refused("a step of the plan would be a formula in words")
        if line.text.count("with every occurrence") > _MAX_REPLACEMENTS:
            raise Refused("a step of the plan would be a very long sentence")
        if re.search(r"[a-zA-Z]_[a-zA-Z]", line.text):
            raise Refused("a step of the plan would show program text")
