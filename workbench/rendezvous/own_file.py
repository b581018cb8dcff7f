"""Reads a file only if it is this user's own, since others can put files where this user looks for them."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path


class NotOwnError(PermissionError):
    """The file is not this user's own; `strerror` says why."""


def read_own(path: Path, max_bytes: int, others_may: int = 0o044) -> str:
    """The text of a regular file, at most `max_bytes` of it. It follows no link, and waits at no pipe.

    `others_may` are the permission bits that group and others may have. Raises NotOwnError, other OSErrors, and
    UnicodeDecodeError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOwnError(errno.EPERM, "it is a symbolic link") from None
        raise
    try:
        if why := why_not_own(os.fstat(descriptor), stat.S_ISREG, others_may):
            raise NotOwnError(errno.EPERM, why)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes).decode()
    finally:
        os.close(descriptor)


def why_not_own(found: os.stat_result, is_kind: Callable[[int], bool], others_may: int) -> str:
    """Why it is not this user's own, of this kind, and closed to others but for the bits in `others_may`; empty if it
    is."""
    if not is_kind(found.st_mode):
        return "it is not a regular file" if is_kind is stat.S_ISREG else "it is not a folder"
    if sys.platform == "win32":
        return ""
    if found.st_uid != os.geteuid():
        return f"it belongs to another user (uid {found.st_uid})"
    if (mode := stat.S_IMODE(found.st_mode)) & 0o077 & ~others_may:
        return f"others may change or read it (mode {mode:04o})"
    return ""
