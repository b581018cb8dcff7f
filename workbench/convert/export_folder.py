"""Temporary folders that exports are written to. What a process that was killed has left, the next export deletes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

_PREFIX: Final = "workbench-export-"

_MADE_S: Final = 60.0
"""A folder that is younger may not be locked yet."""

_held: dict[Path, int] = {}
"""Folder of this process -> the descriptor by which it is locked. The system unlocks it however the process ends."""


@contextlib.contextmanager
def export_folder() -> Iterator[Path]:
    """Make a folder for one export. It is deleted where the block raises; else by whoever takes it, with `discard`."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    _sweep(folder.parent, time.time())
    if sys.platform != "win32":
        _held[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # of a file system without locks
            fcntl.flock(_held[folder], fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield folder
    except BaseException:
        discard(folder)
        raise


def discard(folder: Path) -> None:
    """Delete a folder that `export_folder` made."""
    shutil.rmtree(folder, ignore_errors=True)
    if (descriptor := _held.pop(folder, None)) is not None:
        os.close(descriptor)


def _sweep(root: Path, now: float) -> None:
    """Delete this user's folders that no process holds. They may have gigabytes of weights in them."""
    if sys.platform == "win32":
        return
    for folder in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is locked, or gone, or no folder
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                found = os.fstat(descriptor)
                if found.st_uid == os.getuid() and now - found.st_mtime > _MADE_S:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
