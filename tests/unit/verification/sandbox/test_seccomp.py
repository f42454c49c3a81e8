"""What the filter says to a call, by carrying out its instructions as the kernel does."""

from __future__ import annotations

import errno
import struct

import pytest

from tracelift_ray.verification.sandbox.inside import seccomp

PID = 4321
ALLOW, KILL = 0x7FFF0000, 0x80000000
X86_64 = 0xC000003E
FILTER = seccomp.assemble(metadata=False).replace(struct.pack("=I", seccomp._PID), struct.pack("=I", PID))


def verdict(number: int, *args: int, arch: int = X86_64, code: bytes = FILTER) -> int:
    """What the filter returns for one call."""
    padded = [*(argument & (2**64 - 1) for argument in args), 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=iIQ6Q", number, arch, 0, *padded)
    program = list(struct.iter_unpack("=HBBI", code))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, operand = program[at]
        at += 1
        if operation == 0x06:
            return operand
        if operation == 0x05:
            at += operand
            continue
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, operand)
            continue
        holds = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}
        at += if_true if holds[operation] else if_false


def refused(number: int, *args: int) -> bool:
    return verdict(number, *args) == 0x00050000 | errno.EPERM


def allowed(number: int, *args: int) -> bool:
    return verdict(number, *args) == ALLOW


@pytest.mark.parametrize("name", ["read", "mmap", "openat", "futex", "getrandom", "close_range"])
def test_what_programs_need_is_allowed(name: str) -> None:
    assert allowed(seccomp.ALLOWED[name])


@pytest.mark.parametrize(
    "number",
    [57, 58, 59, 322, 101, 105, 106, 112, 155, 161, 165, 166, 175, 200, 203, 222, 240, 246, 248, 250, 272, 285, 297,
     298, 304, 308, 310, 311, 317, 319, 321, 323, 424, 425, 434, 442, 444, 446, 447],
)  # fmt: skip
def test_processes_privileges_mounts_keys_tracing_and_exotic_calls_are_refused(number: int) -> None:
    assert refused(number)


def test_every_number_that_no_rule_names_is_refused() -> None:
    ruled = {*seccomp.ALLOWED.values(), 16, 24, 41, 44, 53, 56, 61, 62, 72, 157, 160, 234, 247, 302, 435}
    for number in range(450):
        if number not in ruled:
            assert refused(number), number
        elif number in seccomp.ALLOWED.values():
            assert allowed(number), number


def test_other_machines_calls_kill_and_newer_calls_do_not_exist() -> None:
    assert verdict(0, arch=0x40000003) == KILL
    assert verdict(0x40000000) == KILL
    for number in (450, 500, 0x3FFFFFFF):
        assert verdict(number) == 0x00050000 | errno.ENOSYS


def test_threads_may_be_made_but_no_processes_and_no_namespaces() -> None:
    thread = 0x3D0F00
    assert allowed(56, thread)
    assert refused(56, 17) and refused(56, thread | 0x10000000) and refused(56, thread | 0x20000)
    assert verdict(435) == 0x00050000 | errno.ENOSYS


def test_a_program_may_signal_itself_but_not_with_sigkill_and_nobody_else() -> None:
    assert allowed(62, PID, 15) and allowed(234, PID, PID + 1, 10)
    assert refused(62, PID, 9) and refused(234, PID, PID, 9)
    for other in (0, -1, 1, PID + 1, -PID):
        assert refused(62, other, 15) and refused(234, other, other, 15)


def test_descriptors_may_be_duplicated_but_not_made_to_send_signals() -> None:
    for command in (0, 1, 2, 3, 1030, 1032):
        assert allowed(72, 0, command)
    assert allowed(72, 0, 4, 0x800) and refused(72, 0, 4, 0x2000)
    for command in (5, 6, 7, 8, 10, 15, 1031, 1033):
        assert refused(72, 0, command)


def test_limits_may_be_read_and_setting_them_is_pretended() -> None:
    assert allowed(302, 0, 7, 0, 1)
    assert verdict(302, 0, 7, 1 << 32) == verdict(302, 0, 7, 1) == verdict(160) == 0x00050000
    assert refused(302, 1, 7, 0)


def test_sockets_are_refused_but_for_a_pair_without_addresses() -> None:
    assert verdict(41, 2, 1, 0) == verdict(41, 1, 1, 0) == 0x00050000 | errno.EACCES
    assert allowed(53, 1, 1, 0) and refused(53, 2, 1, 0)
    assert allowed(44, 3, 1, 1, 0, 0) and refused(44, 3, 1, 1, 0, 1) and refused(44, 3, 1, 1, 0, 1 << 32)
    for number in (42, 43, 46, 47, 49, 50, 288, 299, 307):
        assert refused(number)


def test_terminals_cannot_be_typed_into() -> None:
    assert allowed(16, 0, 0x5401)
    assert verdict(16, 0, 0x5412) == 0x00050000 | errno.ENOTTY


def test_metadata_may_be_changed_only_where_all_files_are_the_programs_own() -> None:
    private = seccomp.assemble(metadata=True)
    for number in seccomp.METADATA.values():
        assert refused(number) and verdict(number, code=private) == ALLOW
    for number in (92, 94, 188, 260):
        assert refused(number) and verdict(number, code=private) == 0x00050000 | errno.EPERM
