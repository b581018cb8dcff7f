"""Leases: a file for each process that wants the service to stay.

Nothing needs to be renewed: the keeper looks whether the holder still lives, so a kernel that is busy in native code
for an hour loses nothing, and one that was killed holds nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from workbench.errors import StorageError
from workbench.rendezvous.process_identity import ProcessKey, this_process

_NAME = re.compile(r"([0-9]+)-([0-9]+)")


class Lease:
    """This process's hold on the service, from `take` to `release` or its own end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._owner = 0

    def take(self) -> None:
        """Again does no harm; it also puts back a file that somebody removed. StorageError."""
        holder = this_process()
        path = self._folder / f"{holder.pid}-{holder.began}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise StorageError(f"the folder {self._folder} cannot be written: {error.strerror}") from None
        self._path, self._owner = path, holder.pid

    def release(self) -> None:
        """In a fork, which has no lease of its own yet, it does nothing."""
        path, self._path = self._path, None
        if path is not None and self._owner == os.getpid():
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # this process's end will do


def holders(folder: Path) -> list[ProcessKey]:
    """The processes that hold a lease and live; the files of those that do not are taken away."""
    found = []
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        holder = ProcessKey(int(match[1]), int(match[2]))
        if holder.alive:
            found.append(holder)
        else:
            try:
                (folder / name).unlink(missing_ok=True)
            except OSError:
                pass  # next time
    return found
