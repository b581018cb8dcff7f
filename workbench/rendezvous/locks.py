"""Locks a file for as long as a process holds it: two services, or two starts of one, exclude each other by it.

The operating system gives the lock back when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def try_lock(path: Path, *, create: bool = True) -> int | None:
    """Lock the file at `path`: its descriptor, to be closed to give the lock back. None where another one holds it.

    The file is made with mode 0600 unless `create` is False. Raises OSError, FileNotFoundError among them.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
