"""Calls of the Linux kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any


@cache
def libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def called(result: int) -> int:
    """A call's result. Raises OSError where it is one's that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, *arguments: Any) -> int:
    """Raises OSError, also where this system has none."""
    if sys.platform != "linux":
        raise OSError("this is no Linux")
    given = [each if isinstance(each, ctypes._SimpleCData) else ctypes.c_ulong(each) for each in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    return called(libc().prctl(ctypes.c_int(option), *given))
