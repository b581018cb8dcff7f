"""Opens a file so that what was checked is what is read, whatever happens to its name meanwhile.

Between a look at a name and an `open` of it, a folder on the way or the file itself may be replaced by a link. So each
folder is opened from the one before it, no link is followed, and what is asked about a file is asked of its descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from workbench.errors import ModelError, UntrustedModel
from workbench.repository.layout import check_own_status, contained, words

FileIdentity: TypeAlias = tuple[int, int, int, int, int]
"""Device, inode, size, and when content and inode were changed last (nanoseconds)."""

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Not blocking: the open of a pipe would wait for a writer."""

_ONE_BY_ONE = os.open in os.supports_dir_fd


@contextmanager
def opened_inside(path: Path, root: Path, what: str) -> Iterator[BinaryIO]:
    """The file at `path`, which lies in `root`, unbuffered. Links within the root are followed once, by `contained`.

    Raises UntrustedModel, naming `what`, for anything but a regular file with one name in `root`; ModelError where it
    has changed when the block ends, since what was read may then be half of it.
    """
    root = root.resolve()
    inside = contained(path, root, what)
    try:
        descriptor = _opened(inside, root) if _ONE_BY_ONE else os.open(inside, _FILE)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
            raise UntrustedModel(f"{what} was replaced while it was opened; load it again") from None
        raise UntrustedModel(f"{what} cannot be read: {words(error)}") from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        check_own_status(os.fstat(descriptor), what)
        with _unchanged(descriptor, what):
            yield file


@contextmanager
def opened_anywhere(path: Path) -> Iterator[BinaryIO]:
    """The model file at a path that its caller answers for: links are followed. Raises ModelError, as above."""
    try:
        descriptor = os.open(path, _FILE & ~getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {words(error)}") from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ModelError("the model file is no regular file")
        with _unchanged(descriptor, "the model file"):
            yield file


def identity_of(status: os.stat_result) -> FileIdentity:
    """What is another one when a file was written to, or replaced by another file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def identities_in(folder: Path) -> dict[Path, FileIdentity]:
    """Of all files in `folder` and the folders in it, no link followed."""
    found = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(OSError):
                found[path] = identity_of(path.stat(follow_symlinks=False))
    return found


@contextmanager
def _unchanged(descriptor: int, what: str) -> Iterator[None]:
    before = identity_of(os.fstat(descriptor))
    yield
    if identity_of(os.fstat(descriptor)) != before:
        raise ModelError(f"{what} changed while it was read; load it again")


def _opened(path: Path, root: Path) -> int:
    *folders, name = path.relative_to(root).parts
    at = os.open(root, _FOLDER)
    try:
        for folder in folders:
            inner = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)
