"""Files that only their owner may read, written so that a reader finds all of one or none."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.errors import StorageError


def write_private(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a file of mode 0600 in one step; `durable`: it outlasts the machine's sudden end, too. StorageError."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"the file {path.name!r} cannot be written: {error.strerror}") from None


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log file, oldest first; none where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - count * 300, 0))
            lines = file.read().decode("utf-8", "replace").rstrip("\n").split("\n")
    except OSError:
        return []
    return lines[-count:] if lines != [""] else []
