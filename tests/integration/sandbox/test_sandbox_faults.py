"""A slot, a machine or a control that fails: never a verdict on a program, but a second try."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hang import HANG_S
from tests.sandboxes import sandbox_config
from tracelift_ray.errors import InfrastructureError
from tracelift_ray.types import CodeTests, Verdict
from tracelift_ray.verification.errors import NoVerdict
from tracelift_ray.verification.sandbox import controls, pool, slot
from tracelift_ray.verification.sandbox.pool import Sandbox

ROOT = Path(__file__).resolve().parents[3]
ANSWER = CodeTests("stdio", ("",), ("42",))
FAST, SLOW = "print(42)", "import time; time.sleep(1.5); print(42)"
LONG = "import time; time.sleep(60)"


@pytest.fixture(params=["namespaces", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    sandbox = Sandbox(sandbox_config(tier=request.param), 2)
    yield sandbox
    sandbox.close()


def children(pid: int) -> list[int]:
    """Children of a process, whichever of its threads started them."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    todo = [pid]
    while todo:
        try:
            todo += children(each := todo.pop())
        except OSError:
            continue
        found.add(each)
    return found - {pid}


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + HANG_S
    while not holds():
        assert time.monotonic() < deadline, f"within 30 s: {what}"
        time.sleep(0.02)


def running(sandbox: Sandbox) -> list[int]:
    """Process ids of programs that run now."""
    return [pid for each in sandbox.slots if each.pid is not None for pid in children(each.pid)]


def in_background(sandbox: Sandbox, program: str, threads: ThreadPoolExecutor) -> Future[Verdict]:
    """A run that has begun."""
    future = threads.submit(sandbox.run, program, ANSWER)
    until(lambda: running(sandbox), "a program runs")
    return future


def check_whole(sandbox: Sandbox, restarts: int) -> None:
    """Two slots that tell right from wrong, after so many restarts."""
    until(lambda: len(sandbox.slots) == 2, "two slots are up again")
    assert sandbox.counts.restarts == restarts
    for _ in range(4):
        assert sandbox.run(FAST, ANSWER).passed
        assert sandbox.run("print(41)", ANSWER).outcome == "wrong_answer"


def test_a_run_whose_fork_server_dies_is_done_on_another_slot(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(1) as threads:
        future = in_background(sandbox, SLOW, threads)
        (program,) = running(sandbox)
        (server,) = (each.pid for each in sandbox.slots if each.pid and program in children(each.pid))
        os.kill(server, signal.SIGKILL)
        assert future.result(HANG_S).passed
    assert sandbox.counts.no_verdicts == 1
    check_whole(sandbox, restarts=1)


def test_a_program_that_something_else_kills_is_run_again(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(1) as threads:
        future = in_background(sandbox, SLOW, threads)
        os.kill(*running(sandbox), signal.SIGKILL)
        assert future.result(HANG_S).passed
    assert sandbox.counts.no_verdicts == 1
    check_whole(sandbox, restarts=1)


def test_a_function_under_test_that_something_else_kills_is_run_again(sandbox: Sandbox) -> None:
    tests = CodeTests("function", asserts=("assert f(1) == 42",))
    with ThreadPoolExecutor(1) as threads:
        for victim in (0, 1):
            future = threads.submit(
                sandbox.run, f"import time\ndef f(x):\n    time.sleep(1.5 + {victim})\n    return 42", tests
            )
            until(lambda: len(running(sandbox)) == 2, "a program and its tests run")
            os.kill(running(sandbox)[victim], signal.SIGKILL)
            assert future.result(HANG_S).passed
    assert sandbox.counts.no_verdicts == 2
    check_whole(sandbox, restarts=2)


def test_a_slot_that_stops_answering_is_replaced(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "REPORT_GRACE_S", -18.0)
    with ThreadPoolExecutor(1) as threads:
        future = in_background(sandbox, SLOW, threads)
        (program,) = running(sandbox)
        (server,) = (each.pid for each in sandbox.slots if each.pid and program in children(each.pid))
        os.kill(server, signal.SIGSTOP)
        assert future.result(HANG_S).passed
    check_whole(sandbox, restarts=1)


def test_what_fails_twice_is_an_infrastructure_error_and_no_verdict(sandbox: Sandbox) -> None:
    ended = threading.Event()

    def kill_all() -> None:
        while not ended.wait(0.02):
            for pid in running(sandbox):
                os.kill(pid, signal.SIGKILL)

    with ThreadPoolExecutor(1) as threads:
        killer = threads.submit(kill_all)
        try:
            with pytest.raises(NoVerdict, match=r"killed by something else|was not set up"):
                sandbox.run(LONG, ANSWER)
        finally:
            ended.set()
            killer.result(HANG_S)
    assert sandbox.counts.no_verdicts == 2
    until(lambda: len(sandbox.slots) == 2, "two slots are up again")
    assert sandbox.run(FAST, ANSWER).passed


def test_without_memory_for_its_files_a_run_has_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox(sandbox_config(), 2)
    real, full = os.memfd_create, OSError(errno.ENOSPC, "No space left on device")
    failures = iter([full])

    def once(name: str, flags: int) -> int:
        if next(failures, None) is not None:
            raise full
        return real(name, flags)

    def always(name: str, flags: int) -> int:
        raise full

    try:
        monkeypatch.setattr(os, "memfd_create", once)
        assert sandbox.run(FAST, ANSWER).passed and sandbox.counts.no_verdicts == 1
        monkeypatch.setattr(os, "memfd_create", always)
        with pytest.raises(NoVerdict, match="No space left"):
            sandbox.run(FAST, ANSWER)
    finally:
        monkeypatch.undo()
        sandbox.close()


def test_a_sandbox_whose_control_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "_ADD", "def add(a, b):\n    return 2 * {error}\n")
    with pytest.raises(InfrastructureError, match="a right function was judged wrong_answer, not passed"):
        Sandbox(sandbox_config(), 1)


def test_a_slot_whose_control_fails_is_not_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = Sandbox(sandbox_config(), 1)
    try:
        monkeypatch.setattr(controls, "_ADD", "def add(a, b):\n    return 2 * {error}\n")
        server = sandbox.slots[0].pid
        assert server is not None
        os.kill(server, signal.SIGKILL)
        with pytest.raises(InfrastructureError, match=r"no sandbox slot could be started .*a right function"):
            sandbox.run(FAST, ANSWER)
        monkeypatch.undo()
        assert sandbox.run(FAST, ANSWER).passed
    finally:
        sandbox.close()


def test_a_slot_that_could_not_be_replaced_is_replaced_later(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "RESTART_PAUSE_S", 0.0)
    monkeypatch.setattr(pool, "NEXT_RESTARTS_S", 0.0)
    monkeypatch.setattr(controls, "_ADD", "def add(a, b):\n    return 2 * {error}\n")
    os.kill(sandbox.slots[0].pid or 0, signal.SIGKILL)
    for _ in range(2):
        assert sandbox.run(FAST, ANSWER).passed
    assert len(sandbox.slots) == 1
    monkeypatch.undo()
    until(lambda: sandbox.run(FAST, ANSWER).passed and len(sandbox.slots) == 2, "two slots are up again")


def test_close_ends_the_programs_that_run(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(1) as threads:
        future = in_background(sandbox, LONG, threads)
        started = {each for slot in sandbox.slots for each in {slot.pid or 0} | descendants(slot.pid or 0)}
        sandbox.close()
        with pytest.raises(InfrastructureError, match="closed while a program was running"):
            future.result(HANG_S)
    assert len(started) > 2 and not descendants(os.getpid()) & started
    with pytest.raises(InfrastructureError, match="after it was closed"):
        sandbox.run(FAST, ANSWER)


@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_owner(tier: str, sent: signal.Signals, tmp_path: Path) -> None:
    script = (
        "from tests.sandboxes import sandbox_config\n"
        "from tracelift_ray.types import CodeTests\n"
        "from tracelift_ray.verification.sandbox.pool import Sandbox\n"
        f"sandbox = Sandbox(sandbox_config(tier={tier!r}, wall_s=60.0), 2)\n"
        "print('up', flush=True)\n"
        f"sandbox.run({LONG!r}, CodeTests('stdio', ('',), ('',)))\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        assert owner.stdout is not None and owner.stdout.readline() == b"up\n"
        until(lambda: len(descendants(owner.pid)) >= (5 if tier == "namespaces" else 3), "two slots and a program run")
        started = descendants(owner.pid)
        os.killpg(owner.pid, sent)
        owner.wait(HANG_S)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()  # type: ignore[union-attr]
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), "all processes of the sandbox are gone")
    assert list(tmp_path.iterdir()) == []


def test_nothing_grows_with_the_number_of_runs() -> None:
    sandbox = Sandbox(sandbox_config(), 1)

    def state() -> tuple[int, int, int, int]:
        server = sandbox.slots[0].pid
        assert server is not None
        status = Path(f"/proc/{server}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0])
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{server}/fd")), len(children(server)), resident

    function = CodeTests("function", asserts=("assert f(1) == 42",))

    def some(count: int) -> None:
        for _ in range(count):
            assert sandbox.run("open('x', 'w').write('y'); print(42)", ANSWER).passed
            assert sandbox.run("def f(x): return 42", function).passed
            assert sandbox.run("raise ValueError", ANSWER).outcome == "runtime_error"

    try:
        some(20)
        *counts, resident = state()
        some(150)
        *after, resident_after = state()
        assert counts == after and resident_after <= resident + 200
    finally:
        sandbox.close()
