"""The tests of a code problem in a JSON record, read and checked; tests that could never run are refused here.

The project's own form is an object: ``{"kind": "stdio", "inputs": […], "outputs": […]}``, where ``exact``, ``abs_tol``
and ``rel_tol`` may say how outputs are compared, or ``{"kind": "function", "asserts": […], "setup": "…", "entry_point":
null}``; ``kind`` may be left out, since the keys tell it.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import Any

from tracelift_ray.records import RecordError, as_text, exact_text, items, mapping, optional_text
from tracelift_ray.types import CodeTests

_RULE_KEYS = ("exact", "abs_tol", "rel_tol")
_KEYS = {"stdio": {"inputs", "outputs", *_RULE_KEYS}, "function": {"asserts", "setup", "entry_point"}}


@dataclass(frozen=True)
class OutputRule:
    """How two outputs are compared.

    Attributes:
        exact: the same characters, where CR LF counts as LF and the line break at the end of the text does not count.
            Otherwise the same tokens between ASCII white space.
        abs_tol, rel_tol: two tokens that are both numbers are also the same where they differ by no more than
            ``abs_tol`` or ``rel_tol`` times the expected one. Not with ``exact``.

    Raises:
        ValueError: a tolerance is negative, not finite, or given together with ``exact``.
    """

    exact: bool = False
    abs_tol: float | None = None
    rel_tol: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("abs_tol", self.abs_tol), ("rel_tol", self.rel_tol)):
            if value is not None and not 0.0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be 0 or more, and finite")
            if value is not None and self.exact:
                raise ValueError(f"{name}={value}: outputs that must be exact have no tolerance")

    @classmethod
    def of(cls, tests: CodeTests) -> OutputRule:
        """The rule that a problem's tests state."""
        return cls(tests.exact, tests.abs_tol, tests.rel_tol)


def read_tests(value: Any, field: str) -> CodeTests:
    """Tests in the project's own form. Raises RecordError where they are none, malformed, or not Python."""
    record = mapping(value, field)
    kind = record.get("kind") or ("stdio" if "inputs" in record else "function")
    if kind not in _KEYS:
        raise RecordError("bad_tests", f"{field}.kind", "must be stdio or function", kind)
    unknown = sorted(record.keys() - _KEYS[kind] - {"kind"})
    if unknown:
        allowed = ", ".join(sorted(_KEYS[kind]))
        raise RecordError("unknown_field", f"{field}.{unknown[0]}", f"{kind} tests have the fields {allowed}")
    if kind == "stdio":
        return _stdio(record, field)
    raw = items(record.get("asserts") or [], f"{field}.asserts")
    asserts = tuple(as_text(text, f"{field}.asserts[{i}]") for i, text in enumerate(raw))
    setup = optional_text(record, "setup", where=f"{field}.") or ""
    return function_tests(asserts, setup, optional_text(record, "entry_point", where=f"{field}."), field)


def function_tests(asserts: tuple[str, ...], setup: str, entry_point: str | None, field: str) -> CodeTests:
    """Function tests whose every piece is Python; with an entry point, one body that defines ``check``."""
    if not any(asserts):
        raise RecordError("no_tests", field, "a problem without tests is refused: its programs could never pass")
    for i, statement in enumerate(asserts):
        _must_parse(statement, f"{field}[{i}]")
    _must_parse(setup, f"{field} setup")
    if entry_point is not None:
        if not entry_point.isidentifier():
            raise RecordError("bad_tests", "entry_point", "must be the name of a function", entry_point)
        if len(asserts) != 1 or not re.search(r"^def check\(", asserts[0], re.MULTILINE):
            raise RecordError("bad_tests", field, "with an entry point the test must be one body with def check(…)")
    return CodeTests("function", asserts=asserts, setup=setup, entry_point=entry_point)


def asserts_in(text: str) -> tuple[str, ...]:
    """The statements of ``text`` where it is Python that consists of asserts alone, else none."""
    try:
        body = parse_python(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    if not all(isinstance(statement, ast.Assert) for statement in body):
        return ()
    return tuple(ast.get_source_segment(text, statement) or "" for statement in body)


def tests_record(tests: CodeTests) -> dict[str, Any]:
    """The project's own form of ``tests``; ``read_tests`` gives them back."""
    if tests.kind == "stdio":
        rule = {name: getattr(tests, name) for name in _RULE_KEYS if getattr(tests, name) not in (None, False)}
        return {"kind": "stdio", "inputs": list(tests.inputs), "outputs": list(tests.outputs)} | rule
    record: dict[str, Any] = {"kind": "function", "asserts": list(tests.asserts), "setup": tests.setup}
    if tests.entry_point is not None:
        record["entry_point"] = tests.entry_point
    return record


def _stdio(record: Any, field: str) -> CodeTests:
    sides = {}
    for side in ("inputs", "outputs"):
        raw = items(record.get(side) or [], f"{field}.{side}")
        sides[side] = tuple(exact_text(text, f"{field}.{side}[{i}]") for i, text in enumerate(raw))
    inputs, outputs = sides["inputs"], sides["outputs"]
    if len(inputs) != len(outputs):
        rule = f"as many outputs as inputs are needed ({len(inputs)} inputs, {len(outputs)} outputs)"
        raise RecordError("bad_tests", field, rule)
    if not inputs:
        raise RecordError("no_tests", field, "a problem without tests is refused: its programs could never pass")
    compared = _output_rule(record, field)
    return CodeTests("stdio", inputs, outputs, exact=compared.exact, abs_tol=compared.abs_tol, rel_tol=compared.rel_tol)


def _output_rule(record: Any, field: str) -> OutputRule:
    exact = record.get("exact", False)
    if not isinstance(exact, bool):
        raise RecordError("wrong_type", f"{field}.exact", "must be true or false", exact)
    tolerances = []
    for name in ("abs_tol", "rel_tol"):
        value = record.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise RecordError("wrong_type", f"{field}.{name}", "must be a number", value)
        tolerances.append(value)
    try:
        return OutputRule(exact, *tolerances)
    except ValueError as error:
        raise RecordError("bad_tests", field, str(error)) from None


def _must_parse(source: str, field: str) -> None:
    try:
        parse_python(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise RecordError("bad_tests", field, f"must be Python ({reason})", source) from None


def parse_python(source: str) -> ast.Module:
    """``ast.parse`` without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # published tests hold escapes such as "\d"
        return ast.parse(source)
