"""seccomp: from a call on, the kernel refuses this process system calls that no model needs.

The filter is a small program for the kernel (classic BPF) that looks at the number of a call and its arguments. It
refuses by EPERM, so that a library which merely tries goes on. Files are Landlock's; this is for the network, other
programs and processes, privileges, and parts of the kernel that are often broken.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

from workbench.sandbox.kernel import prctl

_PR_GET_SECCOMP, _PR_SET_SECCOMP, _FILTER_MODE = 21, 22, 2
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine -> (column in the table below, the kernel's number for it)."""
_X32 = 0x40000000
"""The bit of calls in another way of calling on x86_64, which nothing uses."""

_NUMBERS: Final = """
    socket 41 198, socketpair 53 199,
    execve 59 221, execveat 322 281, fork 57 -, vfork 58 -,
    ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440, kcmp 312 272,
    pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424,
    tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, setpriority 141 140,
    io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427,
    mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, unshare 272 97, setns 308 268,
    open_tree 428 428, move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
    mount_setattr 442 442, name_to_handle_at 303 264, open_by_handle_at 304 265, fanotify_init 300 262,
    bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, add_key 248 217, request_key 249 218, keyctl 250 219,
    init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294,
    reboot 169 142, swapon 167 224, swapoff 168 225, acct 163 89, quotactl 179 60, syslog 103 116, personality 135 92,
    settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266, ioperm 173 -, iopl 172 -,
    sethostname 170 161, setdomainname 171 162,
    setuid 105 146, setgid 106 144, setreuid 113 145, setregid 114 143, setresuid 117 147, setresgid 119 149,
    setfsuid 122 151, setfsgid 123 152, setgroups 116 159, capset 126 91,
    chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -, lchown 94 -, fchown 93 55,
    fchownat 260 54, utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88,
    setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
    shmget 29 194, shmat 30 196, msgget 68 186, semget 64 190, mq_open 240 180,
    clone 56 220, clone3 435 435, kill 62 129, tgkill 234 131, prlimit64 302 261, ioctl 16 29
"""
"""Call, its number on x86_64, on aarch64. Those of the last line are refused for some arguments only."""

_CLONE_THREAD = 0x10000
_INTO_A_TERMINAL: Final = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: type what a user seems to have typed."""

_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

Instruction = tuple[int, int, int, int]
"""Code, how many to skip where it holds, how many where not, operand."""


def has_seccomp() -> bool:
    """Whether this kernel has it, and the table above the machine."""
    if sys.platform != "linux" or platform.machine() not in _ARCHITECTURES:
        return False
    try:
        prctl(_PR_GET_SECCOMP)
    except OSError:
        return False
    return True


def refuse_calls() -> None:
    """For this process from now on, and all that it starts. PR_SET_NO_NEW_PRIVS must be set. Raises OSError."""
    program = b"".join(struct.pack("HBBI", *each) for each in _program(platform.machine(), os.getpid()))
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    asked = Program(len(program) // 8, ctypes.addressof(buffer))
    prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.c_void_p(ctypes.addressof(asked)))


def _program(machine: str, pid: int) -> list[Instruction]:
    column, architecture = _ARCHITECTURES[machine]
    calls = _calls(column)
    found: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if column == 0:
        found += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _UNKNOWN)]
    for number, rule in (
        (calls.pop("clone"), [_argument(0), (_HAS_BIT, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _REFUSE)]),
        # Its flags lie in memory, where nobody can look: the C library then takes `clone`.
        (calls.pop("clone3"), [(_RETURN, 0, 0, _UNKNOWN)]),
        (calls.pop("kill"), _only(0, pid)),
        (calls.pop("tgkill"), _only(0, pid)),
        (calls.pop("prlimit64"), _only(0, 0, pid)),
        (
            calls.pop("ioctl"),
            [
                _argument(1),
                (_EQUAL, 1, 0, _INTO_A_TERMINAL[0]),
                (_EQUAL, 0, 1, _INTO_A_TERMINAL[1]),
                (_RETURN, 0, 0, _REFUSE),
            ],
        ),
    ):
        rule = [*rule, (_RETURN, 0, 0, _ALLOW)]
        found += [(_EQUAL, 0, len(rule), number), *rule]
    for number in calls.values():
        found += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    return [*found, (_RETURN, 0, 0, _ALLOW)]


def _calls(column: int) -> dict[str, int]:
    rows = (row.split() for row in _NUMBERS.split(","))
    return {name: int(numbers[column]) for name, *numbers in rows if numbers[column] != "-"}


def _argument(place: int) -> Instruction:
    """The low half of an argument; none that is compared here has more."""
    return _LOAD, 0, 0, _ARGUMENTS_AT + 8 * place


def _only(place: int, *values: int) -> list[Instruction]:
    """Refuse all but these values of an argument."""
    tests = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [_argument(place), *tests, (_RETURN, 0, 0, _REFUSE)]
