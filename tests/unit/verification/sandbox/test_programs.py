"""Programs against their tests: outcomes, pass counts, limits, and what a program finds around it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandboxes import sandbox_config
from tracelift_ray.types import CodeTests
from tracelift_ray.verification import errors
from tracelift_ray.verification.code_runner import MAX_DETAIL_CHARS, MAX_PROGRAM_CHARS, MAX_SHOWN_CHARS
from tracelift_ray.verification.sandbox.pool import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(sandbox_config(tier="auto"), 2)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def short() -> Iterator[Sandbox]:
    """A short limit on CPU time, for programs that run into it; time on the clock lasts on a busy machine."""
    sandbox = Sandbox(sandbox_config(tier="auto", cpu_s=1.0, wall_s=60.0), 1)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def narrow() -> Iterator[Sandbox]:
    """Little memory, for programs that run into it; time lasts on a slow machine."""
    sandbox = Sandbox(sandbox_config(tier="auto", cpu_s=30.0, wall_s=60.0, memory_mib=256), 1)
    yield sandbox
    sandbox.close()


def stdio(*pairs: tuple[str, str]) -> CodeTests:
    return CodeTests("stdio", inputs=tuple(i for i, _ in pairs), outputs=tuple(o for _, o in pairs))


def function(*asserts: str, setup: str = "", entry_point: str | None = None) -> CodeTests:
    return CodeTests("function", asserts=asserts, setup=setup, entry_point=entry_point)


NOTHING = stdio(("", ""))
CALL = function("assert f(1) == 2")

#: Reference programs in the form of MBPP: a program, an optional set-up that uses it, and asserts.
SAMPLE = [
    (
        "import math\r\ndef hypotenuse(a, b):\r\n  return math.sqrt(a * a + b * b)",
        function("assert hypotenuse(3, 4) == 5.0", "assert hypotenuse(0, 0) == 0.0"),
    ),
    (
        "from collections import Counter\ndef most_frequent(words):\n    return Counter(words).most_common(1)[0]",
        function("assert most_frequent(['a', 'b', 'a']) == ('a', 2)", "assert most_frequent(['z']) == ('z', 1)"),
    ),
    (
        "class Leaf:\n    def __init__(self, value):\n        self.value, self.left, self.right = value, None, None\n"
        "def depth(leaf):\n    return 0 if leaf is None else 1 + max(depth(leaf.left), depth(leaf.right))",
        function("assert depth(root) == 2", setup="root = Leaf(1)\nroot.left = Leaf(2)"),
    ),
    (
        "import re\ndef vowels(text):\n    return len(re.findall('[aeiou]', text))",
        function("assert vowels('tracelift') == 3", "assert vowels('') == 0", "assert vowels('xyz') == 0"),
    ),
    ("def sum(a, b):\n    return a + b", function("assert sum(10, 15) == 25")),
    ("import sys\ndef size(x):\n    return sys.getsizeof(x)", function("assert size((1,)) == sys.getsizeof((1,))")),
    ("def apply(f, xs):\n    return [f(x) for x in xs]", function("assert apply(lambda x: 2 * x, [1, 2]) == [2, 4]")),
    ("def biggest(f, xs):\n    return f(xs)", function("assert biggest(max, [1, 2]) == 2")),
    ("def evens(n):\n    for i in range(n): yield 2 * i", function("assert list(evens(3)) == [0, 2, 4]")),
    ("def clear(xs):\n    xs.clear()", function("xs = [1, 2]\nassert clear(xs) is None and xs == []")),
    ("class A:\n    def __len__(self): return 3", function("assert len(A()) == 3")),
    ("def f(x): raise KeyError(x)", function("try:\n    f(1)\n    assert False\nexcept KeyError:\n    pass")),
]
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n"


@pytest.mark.parametrize(("program", "tests"), SAMPLE)
def test_reference_programs_pass_all_their_tests(sandbox: Sandbox, program: str, tests: CodeTests) -> None:
    verdict = sandbox.run(program, tests)
    assert verdict.passed and verdict.passed_tests == verdict.total_tests == len(tests), verdict


def test_the_humaneval_form_checks_the_entry_point(sandbox: Sandbox) -> None:
    tests = function(CHECK, entry_point="add")
    assert sandbox.run("def add(a, b):\n    return a + b", tests).passed
    assert sandbox.run("def add(a, b):\n    return a - b", tests).outcome == "wrong_answer"
    missing = sandbox.run("def plus(a, b):\n    return a + b", tests)
    assert missing.outcome == "runtime_error" and "add" in missing.detail


def test_set_up_serves_programs_that_need_it_and_its_helpers_cannot_be_replaced(sandbox: Sandbox) -> None:
    imports = function(CHECK, setup="from typing import List\nONE = 1", entry_point="add")
    assert sandbox.run("def add(a: List, b: int = ONE):\n    return a + b", imports).passed
    helper = function("assert twice(2) == 4 and f(1) == 2", setup="def twice(x): return 2 * x")
    assert sandbox.run("def f(x): return twice(x)", helper).passed
    assert sandbox.run("def twice(x): return x\ndef f(x): return 2", helper).passed


@pytest.mark.parametrize(
    "program",
    [
        "class M:\n    isclose = staticmethod(lambda *a: True)\nmath = M()\ndef f(x): return 0",
        "import builtins\nbuiltins.abs = lambda x: 0\ndef f(x): return 0",
        "abs = lambda x: 0\ndef f(x): return 0",
    ],
)
def test_a_program_cannot_replace_what_a_test_compares_with(sandbox: Sandbox, program: str) -> None:
    tests = function("assert math.isclose(f(1), 2.0)", "assert abs(f(1) - 2.0) < 0.1")
    assert sandbox.run("def f(x): return 2.0", tests).passed
    verdict = sandbox.run(program, tests)
    assert (verdict.outcome, verdict.passed_tests) == ("wrong_answer", 0)


@pytest.mark.parametrize(
    "tests",
    [
        function("assert f(x) == 1", setup="x = 1 / 0"),
        function("assert f(object()) == 1"),
        function("assert len(sorted([1])) == 1"),
        function("assert f(no_such_package.x) == 1", setup="import no_such_package"),
    ],
)
def test_tests_that_fail_by_themselves_say_so(sandbox: Sandbox, tests: CodeTests) -> None:
    with pytest.raises(errors.TestsUnusable, match="test 1"):
        sandbox.run("def f(x): return 1", tests)


def test_no_program_can_make_its_tests_unusable(sandbox: Sandbox) -> None:
    send = "import os, struct, json\nb = json.dumps({}).encode()\nm = struct.pack('>I', len(b)) + b\n"
    for spoiler in (
        "def f(x): return object()",
        "def f(x): raise ImportError",
        "f = 3",
        "f = [1]",
        send.format('["loaded"]') + "[os.write(3, m)]\ndef f(x): return 1",
        send.format('["ok"]') + "os.write(3, struct.pack('>I', 10) + b'[\"loaded\"]' + m * 9)\ndef f(x): return 1",
        send.format('["ex", "ImportError", ""]')
        + "os.write(3, struct.pack('>I', 10) + b'[\"loaded\"]' + m * 9)\ndef f(x): return 1",
    ):
        verdict = sandbox.run(spoiler, CALL)
        assert verdict.outcome in ("wrong_answer", "runtime_error"), (spoiler, verdict)


def test_stdio_programs_are_compared_by_tokens_or_as_the_tests_say(sandbox: Sandbox) -> None:
    tests = stdio(("3\r\n4\r\n", "7\n"), ("1\n1", "  2  "))
    assert sandbox.run("a = int(input())\r\nb = int(input())\r\nprint(a + b)\r\n", tests).passed
    wrong = sandbox.run("print('1 2')", stdio(("", "12")))
    assert wrong.outcome == "wrong_answer" and "expected '12', got '1 2'" in wrong.detail
    third = CodeTests("stdio", ("",), ("0.333",), abs_tol=0.01)
    assert sandbox.run("print(1 / 3)", third).passed
    assert sandbox.run("print(1 / 2)", third).outcome == "wrong_answer"
    assert sandbox.run("print('a  b')", CodeTests("stdio", ("",), ("a b",), exact=True)).outcome == "wrong_answer"


def test_the_demo_worlds_one_line_programs_run(sandbox: Sandbox) -> None:
    verdict = sandbox.run(
        "n=int(input()) ; n= n + 3 ; n= n * 2 ; print(n)", stdio(("2", "10"), ("5", "16"), ("11", "28"))
    )
    assert verdict.passed and verdict.total_tests == 3


def test_every_test_counts_and_the_first_that_fails_decides(sandbox: Sandbox) -> None:
    program = "n = int(input())\nif n == 2: raise KeyError(n)\nprint(n if n != 3 else 0)"
    crash_first = sandbox.run(program, stdio(("1", "1"), ("2", "2"), ("3", "3"), ("4", "4")))
    assert (crash_first.outcome, crash_first.passed_tests, crash_first.total_tests) == ("runtime_error", 2, 4)
    assert crash_first.detail.startswith("test 2 of 4: KeyError") and "KeyError: 2" in crash_first.stderr
    wrong_first = sandbox.run(program, stdio(("3", "3"), ("2", "2"), ("4", "4")))
    assert (wrong_first.outcome, wrong_first.passed_tests) == ("wrong_answer", 1)
    early = sandbox.run(program, stdio(("1", "1"), ("2", "2"), ("4", "4")), stop_early=True)
    assert (early.outcome, early.passed_tests, early.total_tests) == ("runtime_error", 1, 3)


def test_a_test_that_ends_the_program_does_not_end_the_others(sandbox: Sandbox) -> None:
    program = "import os\ndef f(x):\n    if x == 2: os._exit(0)\n    return x + 1"
    tests = function(*(f"assert f({x}) == {x + 1}" for x in (1, 2, 3, 4)))
    verdict = sandbox.run(program, tests)
    assert (verdict.outcome, verdict.passed_tests) == ("runtime_error", 3) and "test 2 of 4" in verdict.detail
    assert sandbox.run(program, tests, stop_early=True).passed_tests == 1


def test_a_failing_assert_is_wrong_and_an_assert_in_the_program_is_an_error(sandbox: Sandbox) -> None:
    assert sandbox.run("def f(x): return x", CALL).outcome == "wrong_answer"
    for program in (
        "def f(x): assert x > 5",
        "def f(x): return x.y",
        "def g(x): return x",
        "def f(x): return None < 1",
    ):
        assert sandbox.run(program, CALL).outcome == "runtime_error", program


@pytest.mark.parametrize("program", ["def f(:", "x = 'a", "x\x00y", "(" * 500 + ")" * 500, "return 1", "\udc80"])
def test_programs_that_do_not_compile(sandbox: Sandbox, program: str) -> None:
    for tests in (stdio(("", "1"), ("", "2")), function("assert f(1) == 2", "assert f(2) == 3")):
        verdict = sandbox.run(program, tests)
        assert (verdict.outcome, verdict.passed_tests, verdict.total_tests) == ("does_not_compile", 0, 2)


def test_a_program_of_any_size_has_an_end(sandbox: Sandbox) -> None:
    verdict = sandbox.run("x = 1\n" * MAX_PROGRAM_CHARS, NOTHING)
    assert verdict.outcome == "does_not_compile" and "characters" in verdict.detail


@pytest.mark.parametrize(
    "program",
    ["import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit", "exit()", "import os; os.fork()"],
)
def test_a_function_test_is_not_passed_by_ending_early(sandbox: Sandbox, program: str) -> None:
    verdict = sandbox.run(program, CALL)
    assert verdict.outcome == "runtime_error" and verdict.passed_tests == 0


def test_exit_codes_decide_for_whole_programs(sandbox: Sandbox) -> None:
    assert sandbox.run("print(5); exit()", stdio(("", "5"))).passed
    for end in ("raise SystemExit(3)", "import os; os.kill(os.getpid(), 11)", "1 / 0", "import os; os.kill(0, 9)"):
        assert sandbox.run(f"print(5); {end}", stdio(("", "5"))).outcome == "runtime_error", end


def test_the_limit_on_cpu_time_is_that_of_one_test(short: Sandbox) -> None:
    forever = "while True: pass"
    assert short.run(forever, NOTHING).outcome == "time_limit"
    one_of_three = f"def f(x):\n    if x == 2:\n        {forever}\n    return x"
    verdict = short.run(one_of_three, function("assert f(1) == 1", "assert f(2) == 2", "assert f(3) == 3"))
    assert (verdict.outcome, verdict.passed_tests) == ("time_limit", 2) and "test 2 of 3" in verdict.detail


def test_sleepers_meet_the_limit_on_the_clock() -> None:
    sandbox = Sandbox(sandbox_config(tier="auto", cpu_s=0.4, wall_s=0.5), 1)
    try:
        for program in ("import time; time.sleep(100_000)", "import os; os.kill(os.getpid(), 19)"):
            assert sandbox.run(program, NOTHING).outcome == "time_limit"
    finally:
        sandbox.close()


@pytest.mark.parametrize(
    "program",
    [
        "while True: print('x' * 1000)",
        "print('x' * 70_000)",
        "import os\nos.write(1, b'x' * 60_000); os.write(2, b'y' * 60_000)",
    ],
)
def test_floods_meet_the_output_limit(sandbox: Sandbox, program: str) -> None:
    assert sandbox.run(program, NOTHING).outcome == "output_limit"
    assert sandbox.run(program, CALL).outcome == "output_limit"


def test_output_up_to_the_limit_is_read_whole(sandbox: Sandbox) -> None:
    assert sandbox.run("print('x ' * 32_000)", stdio(("", "x " * 32_000))).passed


@pytest.mark.parametrize("program", ["x = bytearray(10**9)", "x = []\nwhile True: x.append(bytearray(2**26))"])
def test_allocations_meet_the_memory_limit(narrow: Sandbox, program: str) -> None:
    assert narrow.run(program, NOTHING).outcome == "memory_limit"
    assert narrow.run(program, CALL).outcome == "memory_limit"
    called = "def f(x):\n    " + program.replace("\n", "\n    ")
    assert narrow.run(called, CALL).outcome == "memory_limit"


def test_programs_find_nothing_of_who_runs_them(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACELIFT_SECRET", "do not tell")
    tests = stdio(("", ""))
    seen = sandbox.run("import os, sys; print(sorted(os.environ), sys.argv, __name__, __file__)", tests).stdout
    assert "TRACELIFT" not in seen and "['program.py'] __main__ program.py" in seen
    files = "import os; print([n for n in range(3, 500) if os.path.exists(f'/dev/fd/{n}') or not _closed(n)])"
    closed = "import os\ndef _closed(n):\n    try: os.fstat(n)\n    except OSError: return True\n"
    assert sandbox.run(closed + files, tests).stdout == "[]\n"


def test_large_files_are_cut_off(sandbox: Sandbox) -> None:
    assert sandbox.run("open('x', 'wb').write(b'y' * 10**8)", NOTHING).outcome == "runtime_error"


def test_ordinary_things_work(sandbox: Sandbox) -> None:
    program = (
        "import dataclasses, sys, threading, colorsys\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "sys.setrecursionlimit(10**6)\n"
        "def down(n): return 0 if n == 0 else 1 + down(n - 1)\n"
        "thread = threading.Thread(target=lambda: print(Point(down(20_000)), 'h\u00e9', __name__))\n"
        "thread.start()\n"
    )
    assert sandbox.run(program, stdio(("", "Point(x=20000) h\u00e9 __main__"))).passed
    buffered = "out = open(1, 'w', closefd=False)\nout.write('late')"
    assert sandbox.run(buffered, stdio(("", "late"))).passed
    fast_input = "import os, sys; print(sys.stdin.mode, sys.stdout.mode, os.read(0, os.fstat(0).st_size).decode())"
    assert sandbox.run(fast_input, stdio(("5 6", "r w 5 6"))).passed
    assert sandbox.run("import sys; print(5); sys.stdout.close(); sys.stderr.close()", stdio(("", "5"))).passed
    at_exit = "import atexit\natexit.register(print, 'bye')"
    assert sandbox.run(at_exit, stdio(("", "bye"))).passed


def test_set_order_is_the_same_on_every_slot(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(2) as threads:
        verdicts = list(threads.map(lambda _: sandbox.run("print({c for c in 'abcdefghij'})", NOTHING), range(8)))
    assert len({verdict.stdout for verdict in verdicts}) == 1


def test_a_verdict_says_what_it_took_and_what_was_written(sandbox: Sandbox) -> None:
    program = "import sys\nx = bytearray(50_000_000)\nprint('o' * 9_000)\nsys.stderr.write('e' * 9_000)"
    verdict = sandbox.run(program, stdio(("", "o" * 9_000)))
    assert verdict.passed and 0 < verdict.cpu_s < 5 and 0 < verdict.wall_s < 20 and 50 < verdict.peak_mib < 200
    assert (len(verdict.stdout), len(verdict.stderr)) == (MAX_SHOWN_CHARS, MAX_SHOWN_CHARS)
    assert len(sandbox.run("raise ValueError('x' * 10_000)", NOTHING).detail) == MAX_DETAIL_CHARS


def test_no_tests_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="without tests"):
        sandbox.run("print(1)", CodeTests("stdio"))


def test_several_threads_run_programs_at_once(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(4) as threads:
        runs = threads.map(lambda n: sandbox.run("print(input())", stdio((str(n), str(n % 30)))), range(40))
        assert [verdict.passed for verdict in runs] == [n < 30 for n in range(40)]
