"""Opens a zip that a stranger made, of a bounded directory.

`zipfile` makes objects of the whole directory, many times its size, before anything can be asked of it. So the reads
that it does while it opens the file are bounded here: its own ones, since a second reader of the records at the file's
end, ZIP64's among them, might understand them otherwise.
"""

from __future__ import annotations

import zipfile
from typing import IO, Final

from workbench.errors import ModelError

MAX_ENTRY_BYTES: Final = 512
"""Of a member's entry in the directory, on the average: 46, its name and what is said of it."""

_ENTRY_MARK: Final = b"PK\1\2"


def open_zip(file: IO[bytes], max_members: int) -> zipfile.ZipFile:
    """The zip in `file`, of at most `max_members`. Raises ModelError where it has more, or a directory that is larger
    than these take; zipfile.BadZipFile and NotImplementedError for what is no zip that is read; OSError."""
    bounded = _BoundedReads(file, max_members)
    archive = zipfile.ZipFile(bounded)
    bounded.max_members = None
    return archive


class _BoundedReads:
    """What zipfile needs of a file. While `max_members` is set, a read must be one of the directory of so many."""

    def __init__(self, file: IO[bytes], max_members: int) -> None:
        self.max_members: int | None = max_members
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if self.max_members is None or size < 0:  # without a size zipfile reads the last 64 KiB alone
            return self._file.read(size)
        most = max(self.max_members, 1) * MAX_ENTRY_BYTES
        if size > most:
            raise ModelError(f"the zip's directory has {size} bytes; {most} are the most")
        data = self._file.read(size)
        if (entries := data.count(_ENTRY_MARK)) > self.max_members:
            raise ModelError(f"the zip has {entries} members; {self.max_members} are the most")
        return data
