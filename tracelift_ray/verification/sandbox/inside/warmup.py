"""Runs small known programs in the server, so that what Python sets up at first use is there in every fork.

Without it each program would build the same caches and touch the same memory again, which takes longer than most
programs run. Nothing of it is left where a program could see it.
"""

from __future__ import annotations

import io
import json
import linecache
import marshal
import os
import symtable
import sys
import traceback

from tracelift_ray.verification.sandbox.inside import codec, program
from tracelift_ray.verification.sandbox.inside.confine import Preparation, confine

#: So often Python has specialised its code for what it does.
_ROUNDS = 20
#: What programs are mostly made of.
_PROGRAM = """
import sys
from collections import Counter, defaultdict, deque
class Point:
    def __init__(self, x, y=0):
        self.x, self.y = x, y
    def __repr__(self):
        return f"Point({self.x!r}, {self.y:.3f})"
def solve(n, *rest, key=None):
    table = [[0] * (n + 1) for _ in range(n + 1)]
    for i in range(1, n + 1):
        for j, row in enumerate(table):
            row[i] = max(row[i - 1], i * j % 7)
    return sum(map(sum, table)), {i: chr(97 + i) for i in range(n)}, {1, 2} | set(rest), sorted(rest, key=key)
def main():
    lines = "3 1 2\\nab cd\\n".split("\\n")
    numbers = list(map(int, lines[0].split()))
    counts, seen, queue = Counter(lines[1]), defaultdict(list), deque(numbers)
    while queue:
        number = queue.popleft()
        if number in seen or number < 0:
            continue
        seen[number].append(str(number)[::-1])
    total, *others = solve(4, *numbers, key=lambda value: -value)
    try:
        numbers[99]
    except (IndexError, KeyError) as error:
        others.append(str(error))
    assert total != -1, "never"
    print(total, others, *counts.most_common(1), Point(1, 2.5), 2**70 // 3, 7 / 2, sep=", ", end="\\n", file=out)
    print("\\n".join(str(x) for x in zip(numbers, range(3), "abc")), (1, 2) < (1, 3), not None, file=out)
if __name__ == "__main__":
    main()
"""
_FAILING = "def f(x):\n    return x.missing\nf(1)\n"
_TEST = "assert f([1, 2], {'a': 1}) == (3, 'b') and not g(x)[0].attribute"


def warm_up() -> None:
    """Run them, and leave no trace."""
    for _ in range(_ROUNDS):
        out = io.TextIOWrapper(io.BufferedWriter(io.BytesIO()), "utf-8", "surrogateescape", "\n")
        names = {"__name__": "__main__", "out": out}
        exec(compile(_PROGRAM, "program.py", "exec", dont_inherit=True), names)
        out.flush()
        names.clear()
        _fail(out)
        symtable.symtable(_TEST, "<test>", "exec").get_symbols()
        compile(_TEST, "<test>", "exec", dont_inherit=True)
        message = codec.encode([1, (2.5, "x", None), {"a": {1, 2}}, 2**80, True], lambda _: ["h", 0])
        codec.decode(json.loads(json.dumps(["ok", message, []]))[1], lambda _: None)
        _rehearse()


def _rehearse() -> None:
    """What a child does, except the confinement, which could not be undone."""
    ours = sys.modules["__main__"]
    payload, (reading, report) = os.memfd_create("rehearsal"), os.pipe()
    os.write(payload, marshal.dumps("x = 1\n"))
    nothing = ((0, os.getpid, ()),) * 20
    source = marshal.loads(confine(Preparation(nothing, payload, report, None)))
    module = program.make_module("__main__")
    compiled = os.memfd_create("rehearsal")
    program.compile_program(source, os.dup(report), os.dup(compiled))
    code = program.compile_program(source, report, compiled)
    program.guarded(lambda: exec(code, module.__dict__))
    os.close(reading)
    sys.modules["__main__"] = ours
    linecache.cache.clear()


def _fail(out: io.TextIOWrapper) -> None:
    try:
        exec(compile(_FAILING, "program.py", "exec", dont_inherit=True), {})
    except AttributeError as error:
        traceback.print_exception(type(error), error, error.__traceback__, file=out)
