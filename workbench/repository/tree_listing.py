"""Lists the files of model repositories, without opening one. Reads folders, so it belongs on a thread."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.errors import StorageError
from workbench.repository.layout import INITIAL_STATE_FOLDER, WARMUP_FOLDER, words
from workbench.repository.local import is_model_name, is_version
from workbench.repository.settled_changes import FileMark, FolderListing, Listing

MOST_FILES = 100_000
"""Of all repositories together; one listing of as many takes about a second."""

log = logging.getLogger("workbench.repository")


class TreeReader:
    """Remembers the listing before: what cannot be read now is taken to be as it was, and told once.

    So are the models of a repository that is gone as a whole, or is empty and on another file system than before: then
    a network drive is not mounted, and its models are not to be unloaded.
    """

    def __init__(self, roots: Sequence[Path], most_files: int = MOST_FILES) -> None:
        self._roots = tuple(roots)
        self._most_files = most_files
        self._last: Listing = {}
        self._devices: dict[int, int] = {}
        self._unreadable: dict[Path, str] = {}

    def read(self) -> Listing:
        """The models that have a version, each of the first repository that holds it."""
        found: dict[str, FolderListing] = {}
        left = _Budget(self._most_files)
        for index, root in enumerate(self._roots):
            for name, folder in self._of_root(index, root, left).items():
                found.setdefault(name, folder)
        self._last = found
        return found

    def _of_root(self, index: int, root: Path, left: _Budget) -> Listing:
        before = {name: folder for name, folder in self._last.items() if folder.repository == index}
        try:
            device = root.stat().st_dev
            names = [entry.name for entry in _entries(root, left) if is_model_name(entry.name) and entry.is_dir()]
        except (OSError, StorageError) as error:
            self._tell(root, f"the model repository {root} cannot be read ({_why(error)}): its models serve on")
            return before
        if not names and before and device != self._devices.get(index, device):
            self._tell(root, f"the model repository {root} is not mounted any more: its models serve on")
            return before
        self._devices[index] = device
        self._readable(root)
        found: dict[str, FolderListing] = {}
        for name in names:
            folder = root / name
            try:
                listed = _of_model(folder, index, left)
            except FileNotFoundError:
                continue  # it has just gone
            except (OSError, StorageError) as error:
                self._tell(
                    folder, f"{folder} in a model repository cannot be read ({_why(error)}): it is left as it was"
                )
                if name in before:
                    found[name] = before[name]
                continue
            self._readable(folder)
            if listed.versions:
                found[name] = listed
        return found

    def _tell(self, path: Path, text: str) -> None:
        if self._unreadable.get(path) != text:
            self._unreadable[path] = text
            log.warning(text)

    def _readable(self, path: Path) -> None:
        if self._unreadable.pop(path, None) is not None:
            log.info("%s can be read again", path)


class _Budget:
    def __init__(self, files: int) -> None:
        self.most = self.left = files

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise StorageError(f"more than {self.most} files")


def _of_model(folder: Path, repository: int, left: _Budget) -> FolderListing:
    versions: dict[str, dict[str, FileMark]] = {}
    beside: dict[str, FileMark] = {}
    for entry in list(_entries(folder, left)):
        if not entry.is_dir():
            if not entry.name.startswith("."):
                _add(beside, entry.name, entry)
        elif is_version(entry.name):
            try:
                versions[entry.name] = _files(Path(entry.path), left)
            except FileNotFoundError:
                continue
        elif entry.name in (WARMUP_FOLDER, INITIAL_STATE_FOLDER):
            beside |= {f"{entry.name}/{path}": mark for path, mark in _files(Path(entry.path), left).items()}
    return FolderListing(versions, beside, repository)


def _files(folder: Path, left: _Budget) -> dict[str, FileMark]:
    """All files in a folder and those in it; no link to a folder within it is followed."""
    found: dict[str, FileMark] = {}
    folders = [(folder, "")]
    while folders:
        place, path = folders.pop()
        for entry in _entries(place, left):
            if entry.is_dir(follow_symlinks=False):
                folders.append((Path(entry.path), f"{path}{entry.name}/"))
            else:
                _add(found, f"{path}{entry.name}", entry)
    return found


def _entries(folder: Path, left: _Budget) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            left.take()
            yield entry


def _add(found: dict[str, FileMark], path: str, entry: os.DirEntry[str]) -> None:
    try:
        status = entry.stat()
    except FileNotFoundError:  # it has just gone, or a link leads nowhere
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
    found[path] = FileMark(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _why(error: OSError | StorageError) -> str:
    return error.message if isinstance(error, StorageError) else words(error)
