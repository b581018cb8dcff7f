"""The service's own copies of models, each in a folder named by the digest of its content.

What is loaded is copied here first and the copy is what gets validated, so that nothing can change between the look
and the load, nor while it serves: ONNX Runtime maps the data beside a model, and a mapped file that somebody else
writes to changes answers, one that is cut off ends the process. And a restart needs no file that may be gone.

A folder appears under its final name complete or not at all: it is written under another name, flushed to disk, and
renamed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from workbench.core.description import Graph
from workbench.core.foreign_formats import HEAD_BYTES, foreign, is_zip
from workbench.core.model import check_model_name
from workbench.core.runtime import ONNX, Runtime, runtime_of_content, runtime_of_file
from workbench.errors import InvalidInput, ModelError, StorageError, TooLarge
from workbench.repository.incoming import FRESH_S, IncomingFolder, incoming_folder, is_left, remove, storing
from workbench.repository.layout import model_file_in
from workbench.repository.opened_file import opened_anywhere, opened_inside
from workbench.repository.store_space import INCOMING, StoreSpace
from workbench.repository.validate import Look, ModelFile, inspect_model, look_here, validate_model
from workbench.repository.zipped_model import only_model_in, unpack

BESIDE = ".beside"
"""In a model's folder: what lay beside it where it was loaded from, by the name that it was loaded under."""
_MARK_BYTES = 64
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that lies in the store, validated."""

    path: Path
    digest: str
    size_bytes: int
    identity: str = field(default="", compare=False)
    """As ModelFile has it; empty where the model was not looked at again."""
    graph: Graph = field(default_factory=Graph, compare=False)
    """As ModelFile has it; empty where the model was not looked at again."""


class ModelStore:
    """Any number of threads, and of processes, may use one store. The folder is made, with mode 0700, when needed.

    Every method raises StorageError, with nothing half-written left, when the disk is full or the folder unwritable.
    """

    def __init__(self, root: Path, max_bytes: int = 0, look: Look = look_here) -> None:
        """`max_bytes` of all models together; 0: as many as the disk has room for."""
        self.root = root
        self.space = StoreSpace(root, max_bytes)
        self.look = look
        """Reads what is in a file."""

    def protect(self) -> None:
        """Close the folder to others, where there is one already. StorageError where it is another user's."""
        with storing(), suppress(FileNotFoundError, NotADirectoryError):
            status = self.root.stat()
            if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                raise StorageError(
                    "the model store's folder belongs to another user, who could change its models: give another data "
                    "folder with --data-dir"
                )
            if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o077:
                self.root.chmod(0o700)

    def begin(self, max_bytes: int | None = None, runtime: Runtime = ONNX, size: int = 0) -> Upload:
        """An upload of one model file of `runtime`, of at most `max_bytes`; end it with `finish` or `abort`, or leave
        its `with`. `size` is what it is known to have: StorageError where there is no room for it, before it comes."""
        with storing():
            return Upload(self, IncomingFolder(self.space, size), max_bytes, runtime.model_file)

    def add_bytes(self, data: bytes) -> StoredModel:
        """A model from memory."""
        with self.begin(size=len(data)) as upload:
            upload.write(data)
            return upload.finish()

    def add_file(self, path: Path, root: Path | None = None) -> StoredModel:
        """A copy of the model at `path` and of its external data. In a repository with this `root` none of the files
        may be linked from elsewhere. Without one the file itself is the caller's word and may be; data may not."""
        inside = path.parent.resolve() if root is None else root
        found = inspect_model(path, self.look) if root is None else validate_model(path, root, self.look)
        stored = self.get(found.digest)
        if stored is not None:
            return replace(stored, identity=found.identity, graph=found.graph)
        with incoming_folder(self.space, found.size_bytes) as incoming:
            with storing():
                copy = incoming.folder / (runtime_of_file(path) or ONNX).model_file
                with opened_anywhere(path) if root is None else opened_inside(path, root, "the model file") as file:
                    incoming.copy(file, copy)
                for location in found.external_files:
                    target = incoming.folder / location
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with opened_inside(found.path.parent / location, inside, "the model's external data") as file:
                        incoming.copy(file, target)
            return self._admit(copy, found.digest)

    @contextmanager
    def unpacked(self, path: Path, name: str) -> Iterator[Path]:
        """The folder in the zip at `path`, called `name`, for as long as the context lasts."""
        with incoming_folder(self.space, path.stat().st_size) as incoming:
            with storing():
                into = incoming.folder / "unpacked"
                into.mkdir()
                folder = unpack(path, incoming, into)
                named = incoming.folder / check_model_name(name)
                folder.rename(named)
            yield named

    @contextmanager
    def sent(self, files: Mapping[str, bytes]) -> Iterator[Path]:
        """A folder with these files, by their names, for as long as the context lasts."""
        with incoming_folder(self.space, sum(map(len, files.values()))) as incoming:
            with storing():
                for name, data in files.items():
                    incoming.write(incoming.folder / name, data)
            yield incoming.folder

    def get(self, digest: str) -> StoredModel | None:
        """The stored model of that digest, if there is one."""
        path = model_file_in(self._folder(digest))
        if path is None:
            return None
        files = (file for file in path.parent.rglob("*") if file.is_file() and BESIDE not in file.parts)
        size = sum(file.stat().st_size for file in files)
        return StoredModel(path, digest, size)

    def keep_beside(self, digest: str, name: str, files: Mapping[str, bytes]) -> None:
        """Have `files`, by their paths, in `beside` of this model, instead of what was there."""
        target = self.beside(digest, name)
        with storing():
            if not files and not target.exists():
                return
            with incoming_folder(self.space, sum(map(len, files.values()))) as incoming:
                for path, data in files.items():
                    (incoming.folder / path).parent.mkdir(parents=True, exist_ok=True)
                    incoming.write(incoming.folder / path, data)
                    _flush(incoming.folder / path)
                target.parent.mkdir(exist_ok=True)
                remove(target)
                if files:
                    incoming.folder.rename(target)

    def beside(self, digest: str, name: str) -> Path:
        """The folder for what is said of this model under this name; there may be none."""
        return self._folder(digest) / BESIDE / check_model_name(name)

    def digests(self) -> list[str]:
        """The digests of all stored models, sorted."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(entry.name for entry in self.root.iterdir() if _DIGEST.fullmatch(entry.name))
        return []

    def discard(self, digest: str) -> None:
        """Delete a stored model; one that is not there is no error."""
        remove(self.withdraw(digest))

    def withdraw(self, digest: str) -> Path:
        """Take a stored model out of the store at once, however long deleting it takes: the folder, left to delete."""
        folder = self._folder(digest)
        doomed = self.root / f"{INCOMING}{secrets.token_hex(8)}"
        with storing(), suppress(FileNotFoundError, NotADirectoryError):
            folder.rename(doomed)
        return doomed

    def sweep(self, older_than_s: float = FRESH_S) -> None:
        """Delete what uploads left behind that never ended, because their process was killed."""
        with suppress(FileNotFoundError, NotADirectoryError):
            for entry in self.root.iterdir():
                if entry.name.startswith(INCOMING) and is_left(entry, older_than_s):
                    remove(entry)

    def _folder(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput(f"{digest[:80]!r} is no digest: 64 hexadecimal digits")
        return self.root / digest

    def _admit(self, path: Path, expected: str | None = None) -> StoredModel:
        """The folder of `path`, whose files are closed, under its final name; ModelError when it is not a model, or not
        the one whose digest is expected."""
        folder = path.parent
        model = validate_model(path, folder, self.look)
        if expected not in (None, model.digest):
            raise ModelError("the model changed while it was being copied; load it again")
        final = self._folder(model.digest)
        with storing():
            for each in (path, *_external(folder, model), *_folders(folder, model)):
                _flush(each)
            try:
                folder.rename(final)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES) or not final.is_dir():
                    raise
                # The same content is there already, or another thread was faster: that one serves.
                remove(folder)
            _flush(self.root)
        return StoredModel(final / path.name, model.digest, model.size_bytes, model.identity, model.graph)


class Upload:
    """One model on its way in, written chunk by chunk. Leaving its `with` block unfinished aborts it."""

    def __init__(self, store: ModelStore, incoming: IncomingFolder, max_bytes: int | None, file: str) -> None:
        self.size_bytes = 0
        self._store = store
        self._incoming = incoming
        self._max_bytes = max_bytes
        self._path = incoming.folder / file
        try:
            self._file: BinaryIO = self._path.open("wb", buffering=0)
        except OSError:
            incoming.close()
            raise

    def write(self, chunk: bytes) -> None:
        """Append. TooLarge, or StorageError, ends the upload and leaves nothing behind."""
        self.size_bytes += len(chunk)
        if self._max_bytes is not None and self.size_bytes > self._max_bytes:
            self.abort()
            raise TooLarge(
                f"the model has more than {self._max_bytes} bytes, which is the most that one upload may have"
            )
        try:
            with storing():
                self._incoming.append(self._file, chunk)
        except StorageError:
            self.abort()
            raise

    def finish(self) -> StoredModel:
        """The model, validated and stored; ModelError, with nothing left behind, when it is none."""
        if self._file.closed:
            raise ModelError("the upload was aborted or has ended already")
        try:
            with storing():
                self._file.close()
                self._path = _named_by_content(self._path)
                packed = is_packed(self._path)
            return self._unpacked() if packed else self._store._admit(self._path)
        finally:
            self.abort()

    def _unpacked(self) -> StoredModel:
        """The model in a zip, with its data."""
        into = self._incoming.folder / "unpacked"
        with storing():
            into.mkdir()
            folder = unpack(self._path, self._incoming, into, self._max_bytes)
        path = model_file_in(folder) or only_model_in(folder)
        if path is None:
            raise ModelError("the zip holds no ONNX file; pack the model and its data, or the folder that holds them")
        return self._store.add_file(path)

    def abort(self) -> None:
        """Delete what was written; after `finish`, nothing."""
        with suppress(OSError):
            self._file.close()
        self._incoming.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abort()


def is_packed(path: Path) -> bool:
    """Whether a file is a zip that is no model by itself."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return is_zip(head) and not foreign(head) and runtime_of_content(head) is None


def _named_by_content(path: Path) -> Path:
    """The uploaded file, by the name that the runtime whose mark it bears gives it: bytes come without a name."""
    with path.open("rb") as file:
        runtime = runtime_of_content(file.read(_MARK_BYTES))
    return path if runtime is None else path.rename(path.with_name(runtime.model_file))


def _external(folder: Path, model: ModelFile) -> list[Path]:
    return [folder / location for location in model.external_files]


def _folders(folder: Path, model: ModelFile) -> list[Path]:
    inner = {folder / parent for location in model.external_files for parent in location.parents}
    return sorted({folder, *inner}, reverse=True)


def _flush(path: Path) -> None:
    """Onto the disk itself; a folder too, so that the names in it last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
