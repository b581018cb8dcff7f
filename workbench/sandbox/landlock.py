"""Landlock: from a call on, this process opens nothing but what it names. Since Linux 5.13, without any privilege.

It holds for file systems, from ABI 4 on for TCP, from ABI 6 on for signals to others and for abstract Unix sockets.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from typing import Final

from workbench.sandbox.kernel import called, libc

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""System calls, of the same numbers on every machine."""
_VERSION_FLAG, _BENEATH = 1, 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""ABI -> the rights on files that it brought: 13 of them at first, then to move, to cut short, to control a device."""
_TCP: Final = 0b11
_SCOPES: Final = 0b11
_TCP_ABI, _SCOPES_ABI = 4, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def landlock_abi() -> int:
    """The version that this kernel has; 0: none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    version: int = libc().syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    return max(0, version)


def restrict(readable: Iterable[str]) -> None:
    """From now on only files and folders in `readable` can be opened, and only to read; those that are not there are
    passed over. No TCP, and no signals to others. PR_SET_NO_NEW_PRIVS must be set. Raises OSError, then nothing holds.
    """
    abi = landlock_abi()
    rights = sum(rights for since, rights in _RIGHTS.items() if since <= abi)
    wanted = _Ruleset(rights, _TCP if abi >= _TCP_ABI else 0, _SCOPES if abi >= _SCOPES_ABI else 0)
    size = 8 if abi < _TCP_ABI else 16 if abi < _SCOPES_ABI else 24
    ruleset = called(libc().syscall(_CREATE, ctypes.byref(wanted), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        for path in readable:
            _allow(ruleset, path)
        called(libc().syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        rule = _PathBeneath(_READ_FILE | _READ_DIR if is_folder else _READ_FILE, descriptor)
        called(
            libc().syscall(_ADD, ctypes.c_int(ruleset), ctypes.c_int(_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
        )
    finally:
        os.close(descriptor)
