"""A folder of the store that is being written: with the room for what it holds, and deleted unless it was renamed.

Who writes holds a lock on the folder, which the system gives back however the process ends. So what a killed process
left is told from what is being written.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from workbench.errors import ModelError, StorageError
from workbench.repository.store_space import INCOMING, StoreSpace

FRESH_S = 10.0
"""A folder that was made so lately may not be locked yet by who writes it."""

_STALE_S = 24 * 3600.0
"""Where the file system has no locks, what is older was left by a process that ended."""

_CHUNK = 1 << 20
_CLONE = 0x40049409
"""Linux's FICLONE."""


class IncomingFolder:
    """A folder to write to, with the room for it. `close` deletes what is still there."""

    def __init__(self, space: StoreSpace, size: int) -> None:
        """`size` 0: it is not known yet. Raises StorageError where there is no room, OSError."""
        self.grant = space.grant(size)
        self.folder = space.root / f"{INCOMING}{secrets.token_hex(8)}"
        self._space = space
        try:
            space.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700)
            self._lock = _locked(self.folder, alone=False)
        except BaseException:
            self.close()
            raise

    _lock: int | None = None

    def write(self, path: Path, data: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            self.append(file, data)

    def append(self, file: BinaryIO, data: bytes) -> None:
        self.grant.wrote(len(data))
        write_all(file, data)

    def copy(self, source: BinaryIO, target: Path) -> None:
        """Of the size that the file has now, however it grows; without using up disk where the file system shares
        blocks between files that are alike (btrfs, XFS)."""
        left = os.fstat(source.fileno()).st_size
        self.grant.wrote(left)
        with target.open("wb", buffering=0) as writer:
            if _cloned(source, writer):
                return
            while left and (chunk := _read(source, min(left, _CHUNK))):
                write_all(writer, chunk)
                left -= len(chunk)

    def close(self) -> None:
        """A second time nothing."""
        remove(self.folder)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self.grant.release()
        self._space.measure()


@contextmanager
def incoming_folder(space: StoreSpace, size: int) -> Iterator[IncomingFolder]:
    with storing():
        incoming = IncomingFolder(space, size)
    try:
        yield incoming
    finally:
        incoming.close()


def _locked(folder: Path, *, alone: bool) -> int | None:
    """The folder's descriptor, which holds a lock: `alone`, or with others. None where the file system has no locks.
    Raises BlockingIOError where another one holds it."""
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def is_left(folder: Path, older_than_s: float) -> bool:
    """Whether nobody writes to it any more."""
    try:
        age_s = time.time() - folder.stat().st_mtime
        if age_s <= older_than_s:
            return False
        lock = _locked(folder, alone=True)
    except OSError:  # another one has it, or has just deleted it
        return False
    if lock is None:
        return age_s > _STALE_S
    os.close(lock)
    return True


def write_all(file: BinaryIO, data: bytes) -> None:
    """All of `data` into an unbuffered file, whose single writes may take less; OSError when the disk is full."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(
                f"the model store's disk is full ({os.strerror(error.errno)}): free some space and load again"
            ) from None
        raise StorageError(
            f"the model store's folder cannot be written ({error.strerror}): check what it is and who owns it, or give "
            "another with --data-dir"
        ) from None


def _cloned(source: BinaryIO, target: BinaryIO) -> bool:
    try:
        import fcntl

        fcntl.ioctl(target.fileno(), _CLONE, source.fileno())
    except (ImportError, OSError):  # another file system, or one that cannot
        return False
    return True


def _read(source: BinaryIO, size: int) -> bytes:
    try:
        return source.read(size)
    except OSError as error:
        raise ModelError(f"the model cannot be read: {error.strerror}") from None


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
