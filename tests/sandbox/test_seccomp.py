"""The filter as a program: what it decides on both kinds of machines, whichever this one is."""

from __future__ import annotations

import pytest

from workbench.sandbox import seccomp
from workbench.sandbox.seccomp import _program

PID = 4242
ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def decided(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would read off the filter for this call."""
    data = {0: number, 4: ARCHITECTURE[machine] if architecture is None else architecture}
    data |= {16 + 8 * place: value & 0xFFFFFFFF for place, value in enumerate(arguments)}
    program = _program(machine, PID)
    at = loaded = 0
    while True:
        code, holds, fails, operand = program[at]
        at += 1
        if code == seccomp._RETURN:
            return operand
        if code == seccomp._LOAD:
            loaded = data[operand]
            continue
        true = {
            seccomp._EQUAL: loaded == operand,
            seccomp._AT_LEAST: loaded >= operand,
            seccomp._HAS_BIT: bool(loaded & operand),
        }[code]
        at += holds if true else fails


@pytest.mark.parametrize(
    ("name", "x86_64", "aarch64", "arguments", "outcome"),
    [
        ("read", 0, 63, (3,), ALLOW),
        ("openat", 257, 56, (), ALLOW),
        ("mmap", 9, 222, (), ALLOW),
        ("futex", 202, 98, (), ALLOW),
        ("sched_setaffinity", 203, 122, (), ALLOW),
        ("exit_group", 231, 94, (0,), ALLOW),
        ("socket", 41, 198, (2,), EPERM),
        ("execve", 59, 221, (), EPERM),
        ("ptrace", 101, 117, (16, 1), EPERM),
        ("io_uring_setup", 425, 425, (), EPERM),
        ("clone of a thread", 56, 220, (0x3D0F00,), ALLOW),
        ("clone of a process", 56, 220, (0x1200011,), EPERM),
        ("clone3", 435, 435, (1, 88), ENOSYS),
        ("kill itself", 62, 129, (PID, 6), ALLOW),
        ("kill another", 62, 129, (1, 6), EPERM),
        ("kill its group", 62, 129, (0, 9), EPERM),
        ("kill all", 62, 129, (-1, 9), EPERM),
        ("tgkill of its thread", 234, 131, (PID, 4243, 6), ALLOW),
        ("tgkill of another", 234, 131, (1, 1, 6), EPERM),
        ("limits of its own", 302, 261, (0, 7), ALLOW),
        ("limits of its own by name", 302, 261, (PID, 7), ALLOW),
        ("limits of another", 302, 261, (1, 7), EPERM),
        ("ioctl of a file", 16, 29, (3, 0x5401), ALLOW),
        ("typing into a terminal", 16, 29, (0, 0x5412), EPERM),
        ("pasting into a console", 16, 29, (0, 0x541C), EPERM),
    ],
)
def test_a_call_is_decided(name: str, x86_64: int, aarch64: int, arguments: tuple[int, ...], outcome: int) -> None:
    given = (*arguments, 0, 0)
    assert decided("x86_64", x86_64, *given) == outcome
    assert decided("aarch64", aarch64, *given) == outcome


def test_other_ways_of_calling_the_kernel_are_none() -> None:
    assert decided("x86_64", 0x40000000 | 41, 2, 0) == ENOSYS
    assert decided("x86_64", 102, architecture=0x40000003) == KILL
    assert decided("aarch64", 281, architecture=0x40000028) == KILL
