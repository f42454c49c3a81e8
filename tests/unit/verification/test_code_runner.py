"""Programs against their tests: outcome classes, pass counts, limits, and nothing left behind."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tracelift_ray.types import CodeTests, InfrastructureError
from tracelift_ray.verification import code_process
from tracelift_ray.verification.code_process import CodeLimits
from tracelift_ray.verification.code_runner import MAX_DETAIL_CHARS, MAX_PROGRAM_CHARS, SubprocessRunner

LIMITS = CodeLimits(cpu_s=5.0, wall_s=20.0, memory_mib=512, output_kib=64)
#: Short limits, for programs that run into them.
SHORT = CodeLimits(cpu_s=1.0, wall_s=1.5, memory_mib=256, output_kib=64)


@pytest.fixture(scope="module")
def runner():
    runner = SubprocessRunner(LIMITS)
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def short():
    runner = SubprocessRunner(SHORT)
    yield runner
    runner.close()


def stdio(*pairs: tuple[str, str]) -> CodeTests:
    return CodeTests("stdio", inputs=tuple(i for i, _ in pairs), outputs=tuple(o for _, o in pairs))


def function(*asserts: str, setup: str = "", entry_point: str | None = None) -> CodeTests:
    return CodeTests("function", asserts=asserts, setup=setup, entry_point=entry_point)


NOTHING = stdio(("", ""))

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
]
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n"


@pytest.mark.parametrize(("program", "tests"), SAMPLE)
def test_reference_programs_pass_all_their_tests(runner, program, tests):
    verdict = runner.run(program, tests)
    assert verdict.passed and verdict.passed_tests == verdict.total_tests == len(tests)


def test_the_humaneval_form_checks_the_entry_point(runner):
    tests = function(CHECK, entry_point="add")
    assert runner.run("def add(a, b):\n    return a + b", tests).passed
    assert runner.run("def add(a, b):\n    return a - b", tests).outcome == "wrong_answer"
    missing = runner.run("def plus(a, b):\n    return a + b", tests)
    assert missing.outcome == "runtime_error" and "add" in missing.detail


def test_set_up_serves_programs_that_need_it_and_may_need_the_program(runner):
    imports = function(CHECK, setup="from typing import List\nONE = 1", entry_point="add")
    assert runner.run("def add(a: List, b: int = ONE):\n    return a + b", imports).passed
    helper = function("assert twice(2) == 4 and f(1) == 2", setup="def twice(x): return 2 * x")
    assert runner.run("def f(x): return twice(x)\ndef twice(x): return 0", helper).passed


def test_stdio_programs_are_compared_by_tokens(runner):
    tests = stdio(("3\r\n4\r\n", "7\n"), ("1\n1", "  2  "))
    assert runner.run("a = int(input())\r\nb = int(input())\r\nprint(a + b)\r\n", tests).passed
    assert runner.run("print(*sorted(map(int, input().split())), sep='\\n')", stdio(("2 1 3", "1 2\r\n3"))).passed
    wrong = runner.run("print('1 2')", stdio(("", "12")))
    assert wrong.outcome == "wrong_answer" and "expected '12', got '1 2'" in wrong.detail


def test_the_demo_worlds_one_line_programs_run(runner):
    verdict = runner.run(
        "n=int(input()) ; n= n + 3 ; n= n * 2 ; print(n)", stdio(("2", "10"), ("5", "16"), ("11", "28"))
    )
    assert verdict.passed and verdict.total_tests == 3


def test_every_test_counts_and_the_first_that_fails_decides(runner):
    program = "n = int(input())\nif n == 2: raise KeyError(n)\nprint(n if n != 3 else 0)"
    crash_first = runner.run(program, stdio(("1", "1"), ("2", "2"), ("3", "3"), ("4", "4")))
    assert (crash_first.outcome, crash_first.passed_tests, crash_first.total_tests) == ("runtime_error", 2, 4)
    assert crash_first.detail.startswith("test 2 of 4: KeyError")
    wrong_first = runner.run(program, stdio(("3", "3"), ("2", "2"), ("4", "4")))
    assert (wrong_first.outcome, wrong_first.passed_tests) == ("wrong_answer", 1)


def test_a_failing_assert_is_wrong_and_an_assert_in_the_program_is_an_error(runner):
    tests = function("assert f(1) == 2")
    assert runner.run("def f(x): return x", tests).outcome == "wrong_answer"
    assert runner.run("def f(x): assert x > 5", tests).outcome == "runtime_error"
    assert runner.run("def f(x): return x.y", tests).outcome == "runtime_error"
    assert runner.run("def g(x): return x", tests).outcome == "runtime_error"


@pytest.mark.parametrize("program", ["def f(:", "x = 'a", "x\x00y", "(" * 500 + ")" * 500, "return 1", "\udc80"])
def test_programs_that_do_not_compile(runner, program):
    verdict = runner.run(program, stdio(("", "1"), ("", "2")))
    assert (verdict.outcome, verdict.passed_tests, verdict.total_tests) == ("does_not_compile", 0, 2)


def test_a_program_of_any_size_has_an_end(runner):
    verdict = runner.run("x = 1\n" * MAX_PROGRAM_CHARS, NOTHING)
    assert verdict.outcome == "does_not_compile" and "characters" in verdict.detail


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit",
        "exit()",
        "import os; os.fork() or exit()",
    ],
)
def test_a_function_test_is_not_passed_by_ending_early(runner, program):
    verdict = runner.run(program, function("assert f(1) == 2"))
    assert verdict.outcome == "runtime_error" and verdict.passed_tests == 0


def test_exit_codes_decide_for_whole_programs(runner):
    assert runner.run("print(5); exit()", stdio(("", "5"))).passed
    assert runner.run("print(5); raise SystemExit(3)", stdio(("", "5"))).outcome == "runtime_error"
    assert runner.run("print(5); import os; os.kill(os.getpid(), 9)", stdio(("", "5"))).outcome == "runtime_error"
    assert runner.run("print(5); 1 / 0", stdio(("", "5"))).outcome == "runtime_error"


def test_an_infinite_loop_meets_the_cpu_limit():
    runner = SubprocessRunner(CodeLimits(cpu_s=1.0, wall_s=60.0, memory_mib=256, output_kib=64))
    try:
        started = time.monotonic()
        assert runner.run("while True: pass", NOTHING).outcome == "time_limit"
        assert time.monotonic() - started < 30
    finally:
        runner.close()


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(60)",
        "import os; os.kill(os.getpid(), 19)",
        "import signal; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; signal.pause()",
    ],
)
def test_sleepers_meet_the_wall_limit(short, program):
    started = time.monotonic()
    assert short.run(program, NOTHING).outcome == "time_limit"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "program",
    [
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "print('x' * 70_000)",
        "import os\nos.write(1, b'x' * 60_000); os.write(2, b'y' * 60_000)",
    ],
)
def test_floods_meet_the_output_limit(runner, program):
    assert runner.run(program, NOTHING).outcome == "output_limit"
    assert runner.run(program, function("assert True")).outcome == "output_limit"


def test_output_up_to_the_limit_is_read_whole(runner):
    assert runner.run("print('x ' * 32_000)", stdio(("", "x " * 32_000))).passed


@pytest.mark.parametrize("program", ["x = bytearray(10**9)", "x = [0]\nwhile True: x = x + x"])
def test_allocations_meet_the_memory_limit(runner, program):
    assert runner.run(program, NOTHING).outcome == "memory_limit"
    assert runner.run(program, function("assert True")).outcome == "memory_limit"


def test_programs_have_no_environment_and_a_directory_of_their_own(runner, monkeypatch):
    monkeypatch.setenv("TRACELIFT_SECRET", "do not tell")
    program = (
        "import os\nopen('scratch', 'w').write('x')\n"
        "print(sorted(os.environ), os.listdir('.'), os.getcwd() == os.environ['HOME'], os.getcwd())"
    )
    verdict = runner.run(program, stdio(("", "")))
    assert "['HOME', 'TMPDIR'] ['scratch'] True" in verdict.detail and "TRACELIFT" not in verdict.detail
    left = verdict.detail.rpartition(" ")[2].strip("'")
    assert "tracelift-job-" in left and not Path(left).exists()


def test_large_files_are_cut_off(runner):
    assert runner.run("open('x', 'wb').write(b'y' * 10**8)", NOTHING).outcome == "runtime_error"


def test_ordinary_things_work(runner):
    program = (
        "import dataclasses, sys, threading\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "sys.setrecursionlimit(10**6)\n"
        "def down(n): return 0 if n == 0 else 1 + down(n - 1)\n"
        "thread = threading.Thread(target=lambda: print(Point(down(20_000)), 'h\u00e9', __name__))\n"
        "thread.start()\n"
    )
    assert runner.run(program, stdio(("", "Point(x=20000) h\u00e9 __main__"))).passed


def test_children_in_the_group_end_with_the_program(runner, tmp_path):
    mark = tmp_path / "mark"
    program = f"import os, time\nif os.fork() == 0:\n    time.sleep(1)\n    open({str(mark)!r}, 'w')\nprint(1)"
    started = time.monotonic()
    assert runner.run(program, stdio(("", "1"))).passed
    time.sleep(max(0.0, started + 1.5 - time.monotonic()))
    assert not mark.exists()


def test_set_order_is_the_same_in_every_run():
    verdicts = []
    for _ in range(2):
        runner = SubprocessRunner(LIMITS)
        verdicts.append(runner.run("print({c for c in 'abcdefghij'})", NOTHING).detail)
        runner.close()
    assert verdicts[0] == verdicts[1] and "'a'" in verdicts[0]


def test_details_are_capped(runner):
    verdict = runner.run("raise ValueError('x' * 10_000)", NOTHING)
    assert len(verdict.detail) == MAX_DETAIL_CHARS


def test_no_tests_is_an_error(runner):
    with pytest.raises(ValueError, match="without tests"):
        runner.run("print(1)", CodeTests("stdio"))


def test_several_threads_run_programs_at_once(runner):
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda n: runner.run("print(input())", stdio((str(n), str(n % 30)))), range(40)))
    assert [verdict.passed for verdict in verdicts] == [n < 30 for n in range(40)]


def test_a_server_that_died_is_replaced(runner):
    assert runner.run("print(1)", stdio(("", "1"))).passed
    runner._server._process.kill()
    runner._server._process.wait()
    assert runner.run("print(2)", stdio(("", "2"))).passed


def test_close_ends_the_programs_that_run():
    runner = SubprocessRunner(LIMITS)
    caught: list[InfrastructureError] = []

    def run() -> None:
        try:
            runner.run("import time; time.sleep(60)", NOTHING)
        except InfrastructureError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(1.0)
    runner.close()
    thread.join(timeout=10)
    assert not thread.is_alive() and "closed" in str(caught[0])
    with pytest.raises(InfrastructureError, match="closed"):
        runner.run("print(1)", NOTHING)


def test_programs_end_when_their_verifier_is_killed(tmp_path):
    pid_file = tmp_path / "pid"
    program = f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    script = (
        "from tracelift_ray.types import CodeTests\n"
        "from tracelift_ray.verification.code_process import CodeLimits\n"
        "from tracelift_ray.verification.code_runner import SubprocessRunner\n"
        f"tests = CodeTests('stdio', inputs=('',), outputs=('',))\n"
        f"SubprocessRunner(CodeLimits(5.0, 60.0, 256, 64)).run({program!r}, tests)\n"
    )
    verifier = subprocess.Popen([sys.executable, "-c", script], cwd=Path(code_process.__file__).parents[2])
    try:
        deadline = time.monotonic() + 30
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < deadline, "the program did not start within 30 s"
            time.sleep(0.05)
    finally:
        verifier.kill()
        verifier.wait()
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_what_cannot_be_started_is_an_infrastructure_error(monkeypatch, tmp_path):
    runner = SubprocessRunner(LIMITS)
    monkeypatch.setattr(code_process.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(InfrastructureError, match="no-python"):
        runner.run("print(1)", NOTHING)
    monkeypatch.undo()
    monkeypatch.setattr(code_process.tempfile, "mkdtemp", lambda prefix: os.mkdir(tmp_path / "a" / "b"))
    with pytest.raises(InfrastructureError, match="no directory"):
        runner.run("print(1)", NOTHING)


def test_a_process_that_cannot_be_confined_is_an_infrastructure_error(monkeypatch):
    monkeypatch.setattr(code_process, "FILE_BYTES", "many")
    runner = SubprocessRunner(LIMITS)
    try:
        with pytest.raises(InfrastructureError, match="did not start"):
            runner.run("print(1)", NOTHING)
    finally:
        runner.close()
