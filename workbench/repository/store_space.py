"""Keeps the store within its quota and the disk from getting full: who is about to write is granted the room first.

What several write at once counts together, from the moment at which their sizes are known. A file whose size was not
announced is granted room piece by piece.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from workbench.core.store_use import StoreUse
from workbench.errors import StorageError

PIECE_BYTES = 16 * 1024 * 1024
"""Room is granted in such pieces to what has no size."""

MOST_RESERVED_BYTES = 1024 * 1024 * 1024
RESERVED_SHARE = 0.05
"""This share of the disk stays free, but never more than MOST_RESERVED_BYTES: for the state, the log, and others."""

INCOMING = ".incoming-"
"""How the names of folders begin that are being written, or deleted."""

_NAMED = 3
"""So many of those that use the most are named in an error."""


class StoreSpace:
    """The room of one store, for any number of threads. Every method but `release` reads the folder."""

    def __init__(self, root: Path, max_bytes: int = 0) -> None:
        """`max_bytes` of all stored models; 0: as many as the disk has room for."""
        self.max_bytes = max_bytes
        self.owners: Callable[[], Mapping[str, str]] = dict
        """Digest -> for what it is stored, in words."""
        self.use = StoreUse()
        self.root = root
        self._lock = threading.Lock()
        self._granted: set[Grant] = set()

    def grant(self, size: int = 0, what: str = "the model") -> Grant:
        """Room for `size` bytes, to be released. StorageError where there is less."""
        grant = Grant(self, what)
        self.extend(grant, size)
        return grant

    def extend(self, grant: Grant, by: int) -> None:
        """StorageError where there is less, and then the grant is as before."""
        with self._lock:
            stored = self._stored()
            use = self._measured(stored)
            if by > use.left:
                raise StorageError(self._refusal(grant, by, use, stored))
            grant.size += by
            self._granted.add(grant)
            self.use = StoreUse(use.used + by, use.left - by)

    def release(self, grant: Grant) -> None:
        """What was granted is stored by now, or was given up."""
        with self._lock:
            self._granted.discard(grant)

    def measure(self) -> StoreUse:
        """The use as it is now."""
        with self._lock:
            self.use = self._measured(self._stored())
            return self.use

    def _measured(self, stored: Mapping[str, int]) -> StoreUse:
        used = sum(stored.values()) + sum(each.size for each in self._granted)
        left = self._disk_left()
        return StoreUse(used, max(min(left, self.max_bytes - used) if self.max_bytes else left, 0))

    def _disk_left(self) -> int:
        """What the disk has, less its reserve and what is granted and not written yet."""
        disk = shutil.disk_usage(next(each for each in (self.root, *self.root.parents) if each.exists()))
        reserved = min(MOST_RESERVED_BYTES, int(disk.total * RESERVED_SHARE))
        return disk.free - reserved - sum(max(each.size - each.written, 0) for each in self._granted)

    def _stored(self) -> dict[str, int]:
        """Digest -> bytes of its files."""
        found: dict[str, int] = {}
        with suppress(OSError), os.scandir(self.root) as entries:
            for entry in entries:
                if not entry.name.startswith(INCOMING):
                    found[entry.name] = _size_of(entry.path)
        return found

    def _refusal(self, grant: Grant, by: int, use: StoreUse, stored: Mapping[str, int]) -> str:
        owners: dict[str, int] = {}
        try:
            names = self.owners()
        except StorageError:
            names = {}
        for digest, size in stored.items():
            name = names.get(digest, "models of repositories and flags")
            owners[name] = owners.get(name, 0) + size
        if coming := sum(each.size for each in self._granted if each is not grant):
            owners["uploads under way"] = coming
        largest = sorted(owners.items(), key=lambda item: -item[1])
        named = ", ".join(f"{name} {_shown(size)}" for name, size in largest[:_NAMED])
        rest = sum(size for _, size in largest[_NAMED:])
        named += f", others {_shown(rest)}" if rest else ""
        of = f"of {_shown(self.max_bytes)} (max_store_bytes)" if self.max_bytes else "by models"
        if self.max_bytes and self.max_bytes - use.used <= self._disk_left():
            why, remedy = "the model store has no room", "raise max_store_bytes"
        else:
            why = "the disk of the model store is nearly full, and some of it is kept free"
            remedy = "free some of the disk, or give another data folder with --data-dir"
        return (
            f"{why} for {grant.what} ({_shown(grant.size + by)}): {_shown(use.left)} are left, and "
            f"{_shown(use.used)} {of} are used{f' ({named})' if named else ''}. Unload a model, which deletes "
            f"its files of all versions, or {remedy}"
        )


class Grant:
    """Room for what one writer writes. `release` it; leaving its `with` does."""

    def __init__(self, space: StoreSpace, what: str) -> None:
        self.what = what
        self.size = 0
        self.written = 0
        self._space = space

    def wrote(self, size: int) -> None:
        """`size` bytes are about to be written: more room is asked for where that is more than was granted."""
        if self.written + size > self.size:
            self._space.extend(self, max(self.written + size - self.size, PIECE_BYTES))
        self.written += size

    def release(self) -> None:
        self._space.release(self)


def _size_of(folder: str) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - a Path each costs three times that
    return total


def _shown(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 100_000 else f"{size / 1e3:.2f} kB"
