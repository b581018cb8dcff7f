"""Decides what of a model repository has changed and is complete, from one listing of it after another.

A part of a model (one version's folder, or the files beside its versions) has changed where its files are others than
those that were acted upon. It is complete once they have been the same for `REST_S`; a new part at once where all its
files are older than that, as those of a folder that was copied elsewhere and renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from workbench.repository.layout import TRITON_FILE

REST_S = 2.0
"""Seconds without a change after which a part is complete. A copy may pause longer: what is loaded of it then is found
broken, and tried again once the copy goes on."""

BESIDE = ""
"""The part of a model that is no version: the files beside these."""


class FileMark(NamedTuple):
    """What is another one when a file was written to or replaced. Without its inode, which some network file systems
    make up anew."""

    size: int
    mtime_ns: int
    ctime_ns: int


Marks: TypeAlias = Mapping[str, FileMark]
"""Files of one part by their paths in it."""


@dataclass(frozen=True, slots=True)
class FolderListing:
    """One model's folder as it was at one moment."""

    versions: Mapping[str, Marks]
    beside: Marks
    repository: int = 0
    """Which of the service's repositories it lies in, by its place."""


Listing: TypeAlias = Mapping[str, FolderListing]
"""The models of all repositories by name."""


@dataclass(frozen=True, slots=True)
class FolderChange:
    """What is to be acted upon."""

    name: str
    repository: int = 0
    versions: tuple[str, ...] = ()
    """Those that are there and complete, the lowest first; empty: the model's folder is gone."""
    changed: frozenset[str] = frozenset()
    """Of these, the ones that are new or have other files."""
    gone: frozenset[str] = frozenset()
    settings: bool = False
    """The files beside the versions are others."""

    def after(self, earlier: FolderChange) -> FolderChange:
        """Both, where `earlier` was not acted upon."""
        there = frozenset(self.versions)
        return FolderChange(
            self.name,
            self.repository,
            self.versions,
            (self.changed | earlier.changed) & there,
            (self.gone | earlier.gone) - there,
            self.settings or (earlier.settings and bool(there)),
        )


@dataclass(slots=True)
class _Seen:
    marks: Marks | None
    since: float


class SettledChanges:
    """`listing` is what was acted upon before. Times are of two clocks: `now` of one that nobody sets, in seconds, and
    `wall` of the one by which files are dated."""

    def __init__(self, listing: Listing, rest_s: float = REST_S) -> None:
        self._rest_s = rest_s
        self._acted = {name: parts for name, folder in listing.items() if (parts := _parts(folder))}
        self._repository = {name: folder.repository for name, folder in listing.items()}
        self._seen: dict[tuple[str, str], _Seen] = {}
        """Parts that are others than those acted upon: what they were last, and since when."""

    def look(self, listing: Listing, now: float, wall: float) -> list[FolderChange]:
        """What has become complete since the last call, each change once.

        While a version that was acted upon, or the files beside, are written to, nothing of the model is complete: else
        a lower version would seem to be the highest. While a new version is, the others are there without it.
        """
        found = []
        for name in sorted({*self._acted, *listing}):
            folder = listing.get(name)
            if (change := self._of_model(name, folder, now, wall)) is not None:
                found.append(change)
        return found

    def wait_s(self, now: float) -> float | None:
        """After which time another look may find something complete, if nothing changes; None: after none."""
        left = [each.since + self._rest_s - now for each in self._seen.values()]
        return min((each for each in left if each > 0), default=None)

    def known(self) -> list[FolderChange]:
        """All that was acted upon, as if it were new."""
        return [
            FolderChange(name, self._repository[name], there, frozenset(there), settings=True)
            for name, parts in sorted(self._acted.items())
            if (there := tuple(sorted(parts.keys() - {BESIDE}, key=int)))
        ]

    def _of_model(self, name: str, folder: FolderListing | None, now: float, wall: float) -> FolderChange | None:
        acted = self._acted.get(name, {})
        parts = _parts(folder) if folder is not None else {}
        others = {part for part in {*acted, *parts} if acted.get(part) != parts.get(part)}
        for part in {part for known, part in self._seen if known == name} - others:
            del self._seen[name, part]
        writing = {part for part in others if not self._is_at_rest(name, part, parts.get(part), now, wall)}
        settled = others - writing
        if not settled or any(part == BESIDE or part in acted for part in writing):
            return None
        there = parts.keys() - writing - {BESIDE}
        if not there and writing:
            return None  # what takes the place of the last version is on its way
        for part in settled:
            self._seen.pop((name, part), None)
        if folder is None or not there:
            self._acted.pop(name, None)
        else:
            self._repository[name] = folder.repository
            self._acted[name] = {part: marks for part, marks in parts.items() if part not in writing}
        gone = acted.keys() - parts.keys() - {BESIDE}
        if not there and not gone:
            return None
        return FolderChange(
            name,
            self._repository.get(name, 0),
            tuple(sorted(there, key=int)),
            frozenset(settled & there),
            frozenset(gone),
            BESIDE in settled and bool(there),
        )

    def _is_at_rest(self, name: str, part: str, marks: Marks | None, now: float, wall: float) -> bool:
        seen = self._seen.get((name, part))
        if seen is None or seen.marks != marks:
            seen = self._seen[name, part] = _Seen(marks, now)
        if now - seen.since >= self._rest_s:
            return True
        # Of a part that was acted upon files may be about to go, which leaves the others as old as they are.
        new = part not in self._acted.get(name, {})
        if not new or marks is None:
            return False
        if not marks:
            return part == BESIDE
        return all(self._rest_s <= wall - mark.ctime_ns / 1e9 for mark in marks.values())


def _parts(folder: FolderListing) -> dict[str, Marks]:
    """The model's parts. A version without a file is one of an ensemble, or one that is about to get its files."""
    versions = {version: marks for version, marks in folder.versions.items() if marks}
    if not versions and TRITON_FILE in folder.beside:
        versions = dict(folder.versions)
    return {BESIDE: folder.beside, **versions} if versions else {}
